"""Reading the ledger. Writes nothing.

`overview` has the counts for `status` and for the tiles above the report, `filters` which failures somebody wants to
see, `failures` the open failures one by one, `groups` the same grouped by what went wrong, `links` the tenants whose
client link is invalid, `menus` what a filter can be set to, `targets` what a replay or discard would act on,
`operations` how those have gone, `story` one job from its beginning, `cases` what it sends, `subjects` all that is
kept of one tenant, `sealing` what is still there and under which key, `audit` the log and its proof.
"""

from worker.ledger.queries.cases import CaseVersion, case_versions
from worker.ledger.queries.failures import Failure, FailurePage, failure_page, failures
from worker.ledger.queries.filters import FailureFilter, Menus, menus
from worker.ledger.queries.groups import Group, Groups, Histogram, groups, histogram
from worker.ledger.queries.links import InvalidLink, InvalidLinks, invalid_links
from worker.ledger.queries.operations import (
    CanaryDeath,
    CanaryStanding,
    Item,
    Operation,
    abandoned_operations,
    canary_status,
    operation,
    operation_items,
    operations,
)
from worker.ledger.queries.overview import Counts, Tiles, counts, moment_of, oldest_code, schema_version, tiles
from worker.ledger.queries.story import Story, story
from worker.ledger.queries.targets import Selected, Target, page_of_targets, selected, targets_by_id

__all__ = [
    "CanaryDeath",
    "CanaryStanding",
    "CaseVersion",
    "Counts",
    "Failure",
    "FailureFilter",
    "FailurePage",
    "Group",
    "Groups",
    "Histogram",
    "InvalidLink",
    "InvalidLinks",
    "Item",
    "Menus",
    "Operation",
    "Selected",
    "Story",
    "Target",
    "Tiles",
    "abandoned_operations",
    "canary_status",
    "case_versions",
    "counts",
    "failure_page",
    "failures",
    "groups",
    "histogram",
    "invalid_links",
    "menus",
    "moment_of",
    "oldest_code",
    "operation",
    "operation_items",
    "operations",
    "page_of_targets",
    "schema_version",
    "selected",
    "story",
    "targets_by_id",
    "tiles",
]
