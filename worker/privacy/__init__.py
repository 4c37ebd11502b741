"""Personal data: sealed again, removed when its time is over, handed out and erased on request; and the proof that the
log of all that was not altered."""
