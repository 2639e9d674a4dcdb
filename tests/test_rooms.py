"""The picture of the rooms is what the imports are."""

from bench import rooms


def test_the_page_is_what_the_imports_give():
    assert rooms.PAGE.read_text() == rooms.page(), "imports have changed: python -m bench.rooms"
    assert "Imports that run upward: 0" in rooms.page()


def test_the_page_counts_what_runs_upward(monkeypatch):
    seen = rooms.rooms_seen
    monkeypatch.setattr(rooms, "rooms_seen", lambda path: seen(path) | ({"cli"} if path.name == "matrix.py" else set()))
    assert "Imports that run upward: 1" in rooms.page()


def test_arrows_lead_wherever_the_table_does():
    """The arrows left out are implied by those that are there."""
    imports = rooms.seen()
    drawn = {room: rooms._shown(room, imports) for room in imports}
    for room, direct in imports.items():
        reached, new = set(), {room}
        while new:
            new = set().union(*(drawn[other] for other in new)) - reached
            reached |= new
        assert direct <= reached
