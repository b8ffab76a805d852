"""Where a function runs: each module here runs a `Plan` and returns an `Outcome`. The emulator is the first."""
