"""What a content is known by: the digest of its text, or of the bytes of its file."""

import hashlib
import stat
from pathlib import Path
from typing import NamedTuple

from recsys.content.encoder import MISSING, reason_of
from recsys.files import digest_file

__all__ = ["Content", "Key", "key_of"]

Content = str | Path | None  # a text, a file, nothing


class Key(NamedTuple):
    """The key of a content, or why it has none."""

    digest: str  # sha256 as 64 hex digits; "" where there is nothing to encode
    size: int = 0  # letters of a text, bytes of a file
    reason: str = MISSING  # why there is no digest


def key_of(content: Content) -> Key:
    """Return the key; whatever is wrong with a path is its reason.

    Only ordinary files are opened: a pipe would wait for ever, a device never end.
    """
    if isinstance(content, Path):
        try:
            about = content.stat()
            if not stat.S_ISREG(about.st_mode):
                return Key("", reason="not a file")
            return Key(digest_file(content), about.st_size, "")
        except OSError as error:
            return Key("", reason=reason_of(error))
        except ValueError:  # such as a null byte in it
            return Key("", reason="not a path")
    if not isinstance(content, str) or not content.strip():
        return Key("")
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    return Key(digest, len(content), "")
