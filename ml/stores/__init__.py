"""The edges of the system: everything that reads or writes outside the process."""
