"""Where a column comes from and where it goes, and the events that tell other systems so."""
