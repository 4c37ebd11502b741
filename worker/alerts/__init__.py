"""Telling people what needs them, by webhooks of their own. Nothing here runs unless ALERT_WEBHOOK_URLS is set.

`watch` looks, every few seconds, for what has begun or ended (`changes` decides), and writes it into the ledger once;
`courier` carries it to one receiver (`retry` decides, `words` and `messages` say it). Both are threads (`loop`) of the
worker whose dispatcher leads, beside the dispatcher and never in its way.
"""
