"""What a machine gets: pure functions on immutable values. No socket, clock, log or database in this room."""
