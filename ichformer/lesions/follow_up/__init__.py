"""The bleeds of a patient at two times: how much each volume grew, and which lesions are the same, new or gone."""
