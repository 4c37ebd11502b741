"""One file for each view: it reads the ledger, and hands plain values to a template."""
