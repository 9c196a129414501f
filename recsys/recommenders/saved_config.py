"""What a run or a bundle says of its recommendations: ``[recommend]`` of its ``config.toml``."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from recsys.config import RecommendConfig
from recsys.errors import ArtifactError

__all__ = ["read_recommend"]

CONFIG_FILE = "config.toml"


def read_recommend(run: Path) -> RecommendConfig:
    """Read that table alone, as other tables may be of another version; without a file: defaults.

    Raises:
        ArtifactError: it cannot be read.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        return RecommendConfig()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return RecommendConfig.model_validate(tables.get("recommend", {}))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        first = str(error).replace("\n", " ")
        raise ArtifactError(f"{path}: [recommend] cannot be read ({first})") from None
