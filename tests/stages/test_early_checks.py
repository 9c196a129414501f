"""What can be known to be wrong is said before the long stages."""

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.stages.command import Command

CONFIG = """
[data]
interactions = "log.csv"
items = "items.csv"

[content.colour]
columns = ["colour"]
encoder = "categories"

[tracking]
kind = "none"
"""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A run of a log without times whose towers want to look at them."""
    rows = [f"{user},{(user + n) % 9}" for user in range(12) for n in range(6)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]))
    (tmp_path / "items.csv").write_text(
        "\n".join(["item_id,colour", *(f"{n},red" for n in range(9))])
    )
    (tmp_path / "my.toml").write_text(CONFIG)
    words = ("towers.encoder=transformer", "towers.time_gaps=true")
    return Command.of(tmp_path / "my.toml", words, tmp_path / "run")


def test_times_that_the_log_lacks_are_missed_before_content_is_encoded(command: Command) -> None:
    for _ in range(2):  # also where the data are there already
        with pytest.raises(ConfigError, match="time_gaps = true needs moments"):
            command.go()
        assert (command.out / "data").is_dir()
        assert not (command.out / "content").exists()
