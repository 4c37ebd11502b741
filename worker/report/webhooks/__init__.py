"""Debitura's webhooks: replay the failures that an event resolves, such as a repaired client link.

`worker.report.web.webhook` receives them, `events` parses them and has the event rules, and `inbox` checks signatures
and processes stored events.
"""
