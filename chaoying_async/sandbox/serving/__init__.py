"""The gateway at work: HTTP, the clock, notifications, faults, and the file it is kept in."""
