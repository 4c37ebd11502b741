"""The views, one file each: read the ledger and pass plain values to a template."""
