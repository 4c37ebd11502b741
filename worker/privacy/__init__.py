"""Personal data: re-encrypt it, remove it when its retention time is over, export and erase it on request, and prove
that the audit log of all this was not altered."""
