"""Debitura's webhooks: links that heal themselves.

`signature` says whether Debitura sent it, `events` what it says, `cures` which failures are over by it, and `inbox`
works on what was kept: it begins the replays. `worker.report.web.webhook` is where they arrive.
"""
