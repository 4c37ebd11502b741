"""Send alerts to webhooks. Nothing here runs unless ALERT_WEBHOOK_URLS is set.

`watch` checks every few seconds for conditions that have started or ended (`changes` decides) and writes each alert
to the ledger once. `delivery` sends it to one receiver; `words` and `messages` build its text and body. Both run as
threads (`loop`) in the worker whose dispatcher leads, and never block the dispatcher.
"""
