"""Reading the ledger. Writes nothing.

`overview` has the counts for `status`, `failures` the open failures one by one, `causes` the same grouped by what went
wrong, `targets` what a replay or discard would act on, `story` one job from its beginning.
"""

from worker.ledger.queries.causes import Cause, causes
from worker.ledger.queries.failures import Failure, FailureFilter, failures
from worker.ledger.queries.overview import Counts, counts, schema_version
from worker.ledger.queries.story import Story, story
from worker.ledger.queries.targets import Selected, Target, page_of_targets, selected, targets_by_id

__all__ = [
    "Cause",
    "Counts",
    "Failure",
    "FailureFilter",
    "Selected",
    "Story",
    "Target",
    "causes",
    "counts",
    "failures",
    "page_of_targets",
    "schema_version",
    "selected",
    "story",
    "targets_by_id",
]
