"""Read-only queries of the ledger.

`overview`: counts for `status` and the report's tiles. `filters`: the filter of failures and its menus. `failures`:
open failures, and finding jobs. `groups`: failures by cause. `links`: tenants with an invalid client link. `targets`:
what a replay or discard acts on. `operations`: bulk operations. `story`: one job's history. `cases`: case versions and
encryption keys in use. `subjects`: all data of one tenant. `waiting`: why jobs wait. `restores`: reconciliation after a
restore. `alerts`: conditions to alert on. `audit`: the audit log and its hash chain.
"""

from worker.ledger.queries.cases import CaseVersion, case_versions
from worker.ledger.queries.failures import Failure, FailurePage, failure_page, failures
from worker.ledger.queries.filters import FailureFilter, Menus, menus
from worker.ledger.queries.groups import Group, Groups, Histogram, groups, histogram
from worker.ledger.queries.links import InvalidLink, InvalidLinks, invalid_links
from worker.ledger.queries.operations import (
    CanaryDeath,
    CanaryStatus,
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
    "CanaryStatus",
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
