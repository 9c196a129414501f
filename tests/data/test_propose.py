"""Files that nobody has described become a config that reads them."""

import random
from pathlib import Path

import pytest

from recsys.config_file import load_config
from recsys.content.columns import number_rows
from recsys.data.dataset import Dataset
from recsys.data.propose import Proposal, propose
from recsys.errors import DataError

N_USERS, N_ITEMS = 40, 30
START = 1_500_000_000


def actions() -> list[tuple[int, int, int, int]]:
    """User, item, second and rating of people who come in turn and do several things each time."""
    rng = random.Random(3)  # noqa: S311  (not for secrets)
    rows = []
    for visit in range(150):
        user = rng.randrange(N_USERS)
        for step, item in enumerate(rng.sample(range(N_ITEMS), 4)):
            rows.append((user, item, START + 9_000 * visit + 60 * step, rng.randint(1, 5)))
    return sorted(rows, key=lambda row: row[1])  # in the file an item follows itself, not a user


def write_log(path: Path, header: str, delimiter: str, *, order: str = "uitw") -> Path:
    """Write the actions with columns in an order of u(ser), i(tem), t(ime), w(eight)."""
    lines = [header]
    for user, item, second, rating in actions():
        cells = {"u": str(5000 + user), "i": f"A{item:02d}", "t": str(second), "w": str(rating)}
        lines.append(delimiter.join(cells[column] for column in order))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_items(path: Path, header: str = "sku,name,tags,price,picture,ean") -> Path:
    lines = [header]
    for item in range(N_ITEMS):
        name = f"The {['red', 'green', 'blue'][item % 3]} thing number {item} of the shop"
        tags = f"tag{item % 4}|tag{item % 3}"
        lines.append(f"A{item:02d},{name},{tags},{item * 1.5},img/{item}.jpg,{4000000 + item}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_users(path: Path) -> Path:
    rows = [f"{5000 + user},{20 + user % 9}" for user in range(N_USERS)]
    path.write_text("\n".join(["customer,age", *rows]), encoding="utf-8")
    return path


def roles(proposal: Proposal) -> dict[str, str]:
    chosen = proposal.roles
    assert chosen is not None
    named = {"user": chosen.user, "item": chosen.item, "time": chosen.time, "weight": chosen.weight}
    return {kind: choice.column for kind, choice in named.items() if choice is not None}


EXPECTED = ("user", "item", "time", "weight")


@pytest.mark.parametrize(
    ("header", "delimiter", "order"),
    [
        ("customer;sku;when;stars", ";", "uitw"),
        ("Kunde;ArtikelNr;Zeitpunkt;Sterne", ";", "uitw"),
        ("userId,movieId,timestamp,rating", ",", "uitw"),
        ("a\tb\tc\td", "\t", "uitw"),  # names that say nothing
        ("c1|c2|c3|c4", "|", "witu"),
        ("x,y,z,w0", ",", "tiwu"),
        ("user,b,c,d", ",", "utwi"),  # one name
    ],
)
def test_columns_are_found_by_name_or_by_value(
    tmp_path: Path, header: str, delimiter: str, order: str
) -> None:
    proposal = propose([write_log(tmp_path / "data.csv", header, delimiter, order=order)])
    names = header.split(delimiter)
    places = ["uitw".index(column) for column in order]
    expected = {EXPECTED[place]: name for place, name in zip(places, names, strict=True)}
    assert roles(proposal) == expected
    assert proposal.good_from == 4
    for kind, column in expected.items():
        assert any(reason.startswith(f"{kind} = {column!r}: ") for reason in proposal.reasons)


def test_files_that_are_there_are_content(tmp_path: Path) -> None:
    log = write_log(tmp_path / "shop.csv", "customer;sku;when;stars", ";")
    items = write_items(tmp_path / "things.csv")
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "3.jpg").touch()
    proposal = propose([log, items])
    assert proposal.content["image_picture"] == ("picture",)
    assert "'picture' as image_picture: images, 1 of the first 20 are there" in proposal.reasons
    text = proposal.toml(relative_to=tmp_path)
    assert '[content.image_picture]\ncolumns = ["picture"]' in text
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    encoder = load_config(tmp_path / "my.toml").content["image_picture"].encoder
    assert encoder == "efficientnet-lite0"


@pytest.mark.parametrize("shuffled", [0, 1, 2])
def test_the_tables_are_told_apart_and_the_config_reads_them(tmp_path: Path, shuffled: int) -> None:
    files = [
        write_log(tmp_path / "shop.csv", "customer;sku;when;stars", ";"),
        write_items(tmp_path / "things.csv"),
        write_users(tmp_path / "who.csv"),
    ]
    proposal = propose(files[shuffled:] + files[:shuffled])
    assert proposal.content == {
        "text": ("name", "tags"),
        "categories": ("tags",),
        "numbers": ("price",),
    }
    reasons = "\n".join(proposal.reasons)
    assert "'picture' is not used: images, but 0 of the first 20 are there" in reasons
    assert "'ean' is not used: numbers that look like ids" in reasons
    folder = tmp_path / "configs"
    folder.mkdir()
    text = proposal.toml(relative_to=folder)
    (folder / "my.toml").write_text(text, encoding="utf-8")
    assert "# positive_from = 4" in text
    assert len(text.split("[content")[0].splitlines()) <= 13
    config = load_config(folder / "my.toml")
    assert config.data.items == (tmp_path / "things.csv").resolve()
    assert config.content["text"].encoder == "sbert:all-MiniLM-L6-v2"
    data = Dataset.from_config(config.data, config.split)
    assert (len(data.user_ids), len(data.item_ids)) == (N_USERS, N_ITEMS)
    assert data.notes == ()
    assert data.users.columns.tolist() == ["age"]


def test_opaque_names_in_every_table(tmp_path: Path) -> None:
    log = write_log(tmp_path / "f1.csv", "c1,c2,c3,c4", ",")
    items = write_items(tmp_path / "f2.csv", "k1,k2,k3,k4,k5,k6")
    proposal = propose([items, log])
    assert proposal.log == (log,)
    file, found = proposal.tables["item"]
    assert (file, found.key.column) == (items, "k1")
    assert "user" not in proposal.tables


def test_a_table_that_fits_nothing_is_said(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", "user,item,time,rating", ",")
    (tmp_path / "other.csv").write_text("id,text\nx,one\ny,two\n", encoding="utf-8")
    proposal = propose([log, tmp_path / "other.csv"])
    assert proposal.tables == {}
    assert any(reason.startswith("other.csv is not used") for reason in proposal.reasons)


def test_an_order_and_a_split_column(tmp_path: Path) -> None:
    lines = ["who,what,nr,part"]
    for user in range(12):
        for place in range(6):
            part = "test" if place == 5 else "train"
            lines.append(f"u{user},i{(user * 7 + place * 5) % 11},{place},{part}")
    (tmp_path / "log.csv").write_text("\n".join(lines), encoding="utf-8")
    proposal = propose([tmp_path / "log.csv"])
    assert roles(proposal) == {"user": "who", "item": "what", "time": "nr"}
    text = proposal.toml(relative_to=tmp_path)
    assert '[split]\nprotocol = "column"\ncolumn = "part"' in text
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "my.toml")
    data = Dataset.from_config(config.data, config.split)
    assert data.time_kind == "order"
    assert data.labels is not None


def test_parts_of_one_log_are_one(tmp_path: Path) -> None:
    files = [write_log(tmp_path / f"{n}.csv", "user,item,time,rating", ",") for n in "ab"]
    proposal = propose(files)
    assert proposal.log == tuple(files)
    assert 'interactions = ["a.csv", "b.csv"]' in proposal.toml(tmp_path)


def test_sequences_are_seen(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1 5 6 7\n2 5 9\n3 6 7 8 9\n", encoding="utf-8")
    text = propose([tmp_path / "s.txt"]).toml(tmp_path)
    assert 'source = "sequences"' in text
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "my.toml")
    assert len(Dataset.from_config(config.data).log) == 9


def test_odd_names_are_quoted(tmp_path: Path) -> None:
    log = write_log(tmp_path / 'a "b".csv', 'user "id"\titem\\nr\ttime\tstars', "\t")
    (tmp_path / "my.toml").write_text(propose([log]).toml(tmp_path), encoding="utf-8")
    config = load_config(tmp_path / "my.toml")
    assert config.data.interactions == (log.resolve(),)
    assert config.data.item == "item\\nr"


def test_what_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n1.5,x y z w\n2.5,p q r s\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot tell the columns of users and items among a, b"):
        propose([tmp_path / "log.csv"])
    with pytest.raises(DataError, match="no file given"):
        propose([])


@pytest.mark.real_data
def test_ml_100k(shared_data: Path) -> None:
    folder = shared_data / "ml-100k-mm"
    proposal = propose([folder / name for name in ("users.csv", "items.jsonl", "ratings.csv.gz")])
    assert roles(proposal) == {
        "user": "user",
        "item": "item",
        "time": "timestamp",
        "weight": "rating",
    }
    assert {kind: file.name for kind, (file, _) in proposal.tables.items()} == {
        "user": "users.csv",
        "item": "items.jsonl",
    }
    assert {"title", "plot_omdb", "genres"} <= set(proposal.content["text"])
    assert "genres" in proposal.content["categories"]


@pytest.mark.real_data
def test_beauty_is_a_file_of_sequences(shared_data: Path) -> None:
    assert propose([shared_data / "amazon-beauty" / "Beauty.txt"]).roles is None


def test_ratings_and_prices_with_decimal_commas(tmp_path: Path) -> None:
    stars = ["0,5", "1", "2,5", "4", "4,5", "5"]
    rows = [f"K{u};F{(u * 7 + n) % 50};2024-0{n + 1}-15;{stars[(u + n) % 6]}"
            for u in range(30) for n in range(8)]  # fmt: skip
    log, films = tmp_path / "noten.csv", tmp_path / "filme.csv"
    log.write_text("\n".join(["kunde;film;zeit;bewertung", *rows]))
    films.write_text("\n".join(["film;preis", *(f"F{n};{n % 9},{n % 7}5" for n in range(50))]))
    proposal = propose([log, films])
    assert roles(proposal)["weight"] == "bewertung"
    assert proposal.good_from == 4
    assert "take the # of positive_from = 4 away" in proposal.reasons[-1]
    assert proposal.content == {"numbers": ("preis",)}
    (tmp_path / "my.toml").write_text(
        proposal.toml(relative_to=tmp_path).replace("# positive_from", "positive_from")
    )
    config = load_config(tmp_path / "my.toml")
    data = Dataset.from_config(config.data, config.split)
    assert set(data.log.weights.tolist()) == {4.0, 4.5, 5.0}
    (place,) = data.item_ids.numbers(["F8"])
    assert number_rows(data.items[["preis"]])[place] == (8.15,)
