"""The only room that knows simulators: runner, streams, scoreboard, benches."""
