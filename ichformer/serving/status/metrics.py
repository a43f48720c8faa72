"""The metrics of a node, in the text format of Prometheus. They are counts and times, and name nobody."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ichformer.serving.queue.database import Queue
from ichformer.serving.status.values import read_status, seconds_to_report

_LAST = 200
_QUANTILES = (0.5, 0.95)


def metrics_text(queue: Queue, *, associations: int, is_ready: bool) -> bytes:
    """All metrics.

    Args:
      queue: of the node.
      associations: that are open.
      is_ready: whether the worker is.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: _metrics(queue, associations=associations, is_ready=is_ready)))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]):
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _metrics(queue: Queue, *, associations: int, is_ready: bool) -> Iterator[Metric]:
    status = read_status(queue)
    yield GaugeMetricFamily("ichformer_worker_ready", "1 where studies can be scored.", value=float(is_ready))
    yield GaugeMetricFamily("ichformer_paused", "1 where nothing is scored or sent.", value=float(status.paused))
    yield GaugeMetricFamily("ichformer_associations", "Open DICOM associations.", value=associations)
    studies = GaugeMetricFamily("ichformer_studies", "Studies that are known, by state.", labels=["state"])
    for state, count in status.counts.items():
        studies.add_metric([state], count)
    yield studies
    results = CounterMetricFamily("ichformer_results", "Studies that were scored, by result.", labels=["result"])
    for row in queue.read("SELECT result, count FROM counts"):
        results.add_metric([row[0]], row[1])
    yield results
    waiting = GaugeMetricFamily("ichformer_deliveries", "Results by destination and state.", labels=["to", "state"])
    for one in status.destinations:
        waiting.add_metric([one.destination, "waiting"], one.waiting)
        waiting.add_metric([one.destination, "failed"], one.failed)
    yield waiting
    about = f"From the last image of a study until its results were sent, in the last {_LAST} studies."
    seconds = GaugeMetricFamily("ichformer_seconds_to_report", about, labels=["quantile"])
    found = sorted(seconds_to_report(queue, last=_LAST))
    for quantile in _QUANTILES if found else ():
        seconds.add_metric([str(quantile)], found[min(int(quantile * len(found)), len(found) - 1)])
    yield seconds
    shares = GaugeMetricFamily("ichformer_share", "Share of the studies of the last days.", labels=["of", "days"])
    for share in status.drift:
        for days, estimate in (("7", share.recent), ("8 to 35", share.earlier)):
            if estimate.value is not None:
                shares.add_metric([share.name, days], estimate.value)
    yield shares
