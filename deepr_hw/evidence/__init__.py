"""What proves a network and a run: comparison, certificate, report, facts."""
