"""The queue: whatever happens in whatever order, every whole study has one set of results."""

import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ichformer.errors import InputError
from ichformer.serving.queue.database import QUEUE_NAME, Queue, set_switch
from ichformer.serving.queue.keeping import forget, to_wipe, try_again, wipe
from ichformer.serving.queue.receiving import Instance, arrive, released
from ichformer.serving.queue.scoring import Outcome, claim, give_back, give_up, lacking, not_scored, scored
from ichformer.serving.queue.sending import give_up_others, next_delivery, not_sent, sent
from ichformer.serving.settings import LimitSettings, StudySettings
from ichformer.serving.status.values import read_status

LIMITS = LimitSettings()
WHEN = StudySettings(quiet_s=10, cut_short_s=100)
FOUND = Outcome(state="raised", score=0.9, familiarity=50.0, seconds=1.0)


def image(study="s", name="1", **changes):
    values = {"digest": f"{study}/{name}", "size": 1000, "is_first": False, "expected": None}
    return Instance(study=study, name=name, **values | changes)


def state_of(queue, study="s"):
    return queue.read("SELECT state FROM studies WHERE study = ?", study)[0][0]


@pytest.fixture
def queue(tmp_path):
    with closing(Queue(tmp_path)) as made:
        yield made


def test_a_study_is_complete_when_nothing_has_come_for_a_while(queue):
    assert arrive(queue, image(), at=0, limits=LIMITS) == "new"
    assert claim(queue, at=50, when=WHEN) is None, "the association was not released"
    released(queue, ["s"])
    assert arrive(queue, image(name="2"), at=5, limits=LIMITS) == "new"
    assert claim(queue, at=50, when=WHEN) is None, "another one brought more, and is open"
    released(queue, ["s"])
    assert claim(queue, at=14, when=WHEN) is None
    assert claim(queue, at=15, when=WHEN).study == "s"
    assert claim(queue, at=15, when=WHEN) is None, "it is taken on once"


def test_a_study_that_was_cut_short_waits_longer_and_one_of_known_size_not_at_all(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    assert claim(queue, at=99, when=WHEN) is None
    arrive(queue, image("known", "1", expected=2), at=0, limits=LIMITS)
    assert claim(queue, at=1, when=WHEN) is None
    arrive(queue, image("known", "2", expected=2), at=1, limits=LIMITS)
    assert claim(queue, at=1, when=WHEN).study == "known"
    assert claim(queue, at=100, when=WHEN).study == "s"


def test_the_first_go_first_and_else_who_waited_longest(queue):
    for at, (study, is_first) in enumerate([("a", False), ("b", True), ("c", False), ("d", True)]):
        arrive(queue, image(study, is_first=is_first), at=at, limits=LIMITS)
    order = [claim(queue, at=500, when=WHEN).study for _ in range(4)]
    assert order == ["b", "d", "a", "c"]


def test_images_that_come_twice_and_others_under_their_name(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    assert arrive(queue, image(), at=1, limits=LIMITS) == "known"
    assert arrive(queue, image(digest="x"), at=1, limits=LIMITS) == "other"
    of = claim(queue, at=500, when=WHEN)
    scored(queue, of, FOUND, at=501, destinations=["pacs"])
    assert arrive(queue, image(), at=502, limits=LIMITS) == "known"
    assert state_of(queue) == "sending", "what is known begins nothing anew"


def test_a_study_that_grows_while_it_is_scored_is_scored_again(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    first = claim(queue, at=500, when=WHEN)
    arrive(queue, image(name="2"), at=501, limits=LIMITS)
    assert not scored(queue, first, FOUND, at=502, destinations=["pacs"])
    assert next_delivery(queue, at=503, destinations=["pacs"]) is None
    second = claim(queue, at=1000, when=WHEN)
    assert second.number == first.number + 1
    assert scored(queue, second, FOUND, at=1001, destinations=["pacs"])
    assert next_delivery(queue, at=1002, destinations=["pacs"]).of == second


def test_results_that_do_not_arrive_are_sent_again_and_then_given_up(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    scored(queue, claim(queue, at=500, when=WHEN), FOUND, at=501, destinations=["pacs", "hook"])
    first = next_delivery(queue, at=502, destinations=["pacs"])
    not_sent(queue, first, "http_503", at=502, again_at=600)
    assert next_delivery(queue, at=599, destinations=["pacs"]) is None
    second = next_delivery(queue, at=600, destinations=["pacs"])
    assert second.tries == 1
    sent(queue, next_delivery(queue, at=600, destinations=["hook"]), at=600)
    not_sent(queue, second, "http_503", at=600, again_at=None)
    assert state_of(queue) == "failed"
    assert try_again(queue, "s")
    again = next_delivery(queue, at=601, destinations=["hook", "pacs"])
    assert again.destination == "pacs", "what has arrived is not sent twice"
    sent(queue, again, at=602)
    assert state_of(queue) == "done"


def test_what_waits_for_a_destination_that_was_taken_out_is_given_up(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    scored(queue, claim(queue, at=500, when=WHEN), FOUND, at=501, destinations=["old", "new"])
    assert give_up_others(queue, ["new"], at=502) == 1
    assert next_delivery(queue, at=503, destinations=["old"]) is None
    assert state_of(queue) == "sending"
    sent(queue, next_delivery(queue, at=503, destinations=["new"]), at=503)
    assert state_of(queue) == "failed", "somebody has to see that not all has arrived"


def test_a_worker_that_ends_gives_its_study_back_but_not_for_ever(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    for tries in (1, 2):
        claim(queue, at=500, when=WHEN)
        assert give_back(queue, at=501, tries=3) == [("s", True)], tries
    claim(queue, at=500, when=WHEN)
    assert give_back(queue, at=501, tries=3) == [("s", False)]
    assert state_of(queue) == "failed"
    assert "3 times" in read_status(queue).failed[0].reason


def test_a_node_that_ends_on_purpose_is_no_try_of_the_study(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    for _ in range(5):
        claim(queue, at=500, when=WHEN)
        assert give_back(queue, at=501, tries=1, was_planned=True) == [("s", True)]
    claim(queue, at=500, when=WHEN)
    assert give_back(queue, at=501, tries=2) == [("s", True)], "it is the first that counts"


def test_a_study_that_takes_too_long_is_given_up_at_once(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    claim(queue, at=500, when=WHEN)
    assert give_up(queue, "too_long: 15 min", at=2000) == ["s"]
    assert read_status(queue).failed[0].reason == "too_long: 15 min"
    assert give_up(queue, "too_long: 15 min", at=2000) == []


def test_a_pause_holds_everything_but_what_comes(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    set_switch(queue, "paused", is_on=True)
    assert claim(queue, at=500, when=WHEN) is None
    set_switch(queue, "paused", is_on=False)
    assert claim(queue, at=500, when=WHEN) is not None


def test_a_study_that_grows_after_its_files_were_deleted_lacks_some(queue):
    for name in "12":
        arrive(queue, image(name=name), at=0, limits=LIMITS)
    scored(queue, claim(queue, at=500, when=WHEN), FOUND, at=501, destinations=[])
    assert to_wipe(queue, before=502) == ["s"]
    assert wipe(queue, "s", before=502)
    arrive(queue, image(name="3"), at=600, limits=LIMITS)
    of = claim(queue, at=1000, when=WHEN)
    assert lacking(queue, of.study) == 2
    not_scored(queue, of, "incomplete", at=1001)
    for name in "12":
        assert arrive(queue, image(name=name), at=1100, limits=LIMITS) == "known"
    assert lacking(queue, "s") == 0


def test_what_is_forgotten_leaves_nothing(queue):
    arrive(queue, image(), at=0, limits=LIMITS)
    scored(queue, claim(queue, at=500, when=WHEN), FOUND, at=501, destinations=["pacs"])
    sent(queue, next_delivery(queue, at=502, destinations=["pacs"]), at=502)
    wipe(queue, "s", before=503)
    assert forget(queue, before=503) == 1
    for table in ("studies", "instances", "deliveries", "results"):
        assert queue.read(f"SELECT count(*) FROM {table}")[0][0] == 0, table
    assert queue.read("SELECT count FROM counts WHERE result = 'raised'")[0][0] == 1, "the count is kept"


def test_limits_refuse_what_is_too_much(queue):
    few = LimitSettings(study_instances=1)
    arrive(queue, image(), at=0, limits=few)
    assert arrive(queue, image(name="2"), at=0, limits=few) == "study_full"
    assert arrive(queue, image(name="2", size=5 * 10**9), at=0, limits=LIMITS) == "study_full"
    assert arrive(queue, image("t", "1", size=2 * 10**6), at=0, limits=LimitSettings(waiting_mb=1)) == "node_full"


def test_a_file_that_is_no_queue_is_named(tmp_path):
    (tmp_path / QUEUE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"queue\.sqlite: is no queue"):
        Queue(tmp_path)


class AnyOrder(RuleBasedStateMachine):
    """Everything that a node does to its queue, in any order; beside it what an archive has."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.queue, self.at = Queue(self.folder), 0.0
        self.taken, self.archive, self.instances = [], {}, {}

    def teardown(self):
        self.queue.close()
        shutil.rmtree(self.folder)

    @rule(study=st.sampled_from("ab"), name=st.sampled_from("123"), is_released=st.booleans())
    def image_comes(self, study, name, is_released):
        self.at += 1
        arrive(self.queue, image(study, name), at=self.at, limits=LIMITS)
        self.instances.setdefault(study, set()).add(name)
        if is_released:
            released(self.queue, [study])

    @rule(wait=st.sampled_from([1, 20, 200]))
    def worker_claims(self, wait):
        self.at += wait
        if not self.taken and (of := claim(self.queue, at=self.at, when=WHEN)) is not None:
            self.taken = [(of, frozenset(self.instances[of.study]))]

    @rule()
    def worker_is_done(self):
        for of, seen in self.taken:
            if scored(self.queue, of, FOUND, at=self.at, destinations=["pacs"]):
                assert seen == self.instances[of.study], "a result of a study that has grown counts"
        self.taken = []

    @rule()
    def worker_is_killed(self):
        give_back(self.queue, at=self.at, tries=1000)
        self.taken = []

    @rule(arrives=st.booleans(), is_told=st.booleans())
    def results_are_sent(self, arrives, is_told):
        delivery = next_delivery(self.queue, at=self.at, destinations=["pacs"])
        if delivery is None:
            return
        if arrives:  # the archive has them, whether the node lives to enter it or not
            self.archive.setdefault(delivery.of.study, set()).add(delivery.of.number)
            if is_told:
                sent(self.queue, delivery, at=self.at)
        else:
            not_sent(self.queue, delivery, "http_503", at=self.at, again_at=self.at)

    @rule()
    def node_starts_again(self):
        self.queue.close()
        self.queue = Queue(self.folder)
        self.worker_is_killed()

    @rule()
    def all_comes_to_its_end(self):
        """Left alone, every study has results of all its images, and no other of that round."""
        self.worker_is_killed()
        for _ in range(10):
            self.worker_claims(200)
            self.worker_is_done()
            while (delivery := next_delivery(self.queue, at=self.at, destinations=["pacs"])) is not None:
                self.archive.setdefault(delivery.of.study, set()).add(delivery.of.number)
                sent(self.queue, delivery, at=self.at)
        for study, state, number in self.queue.read("SELECT study, state, round FROM studies"):
            assert state == "done"
            assert number in self.archive[study]

    @invariant()
    def one_delivery_a_round(self):
        rows = self.queue.read("SELECT count(*) AS n FROM deliveries GROUP BY study, round, destination")
        assert all(row["n"] == 1 for row in rows)
        waiting = self.queue.read(
            "SELECT count(*) FROM deliveries AS d JOIN studies AS s USING (study) "
            "WHERE d.state = 'waiting' AND d.round <> s.round"
        )
        assert waiting[0][0] == 0, "results of an earlier round wait to be sent"


TestAnyOrder = pytest.mark.slow(AnyOrder.TestCase)
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
