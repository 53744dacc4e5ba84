"""The staffing table: seeded rows of generic workers, for demos, tests and benchmarks of real size.

python corpora/staffing.py OUT.csv --rows 500000 --seed 1

18 columns; half of the résumés hold line breaks, and there are quoted commas, doubled quotes, empty cells and zip
codes with leading zeros. 500,000 rows make about 350 MB in a few seconds. The same rows and seed give the same bytes.
"""

import argparse
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

COLUMNS = (
    "worker_id",
    "name",
    "role",
    "skills",
    "certifications",
    "city",
    "state",
    "zip",
    "availability",
    "status",
    "years_experience",
    "reliability_score",
    "pay_rate",
    "shift",
    "last_assignment",
    "phone",
    "email",
    "resume_text",
)
BATCH = 4096
PIECES = 17  # phrases in one résumé
_ROW_BYTES = 18 + PIECES  # each row is drawn from this many random bytes

_ROLES = (
    "Forklift Operator",
    "Warehouse Associate",
    "Machine Operator",
    "Welder",
    "Assembler",
    "Electrician",
    "Picker and Packer",
    "Quality Inspector",
    "Truck Driver",
    "Material Handler",
    "Maintenance Technician",
    "Production Supervisor",
    "Inventory Clerk",
    "Cook",
    "Janitor",
    "Receptionist",
)
_SKILLS = (
    "pallet stacking",
    "order picking",
    "MIG welding",
    "blueprint reading",
    "inventory counts",
    "conveyor set-up",
    "cold storage",
    "wiring",
    "preventive maintenance",
    "food handling",
    "route planning",
    "first aid",
    "spreadsheet entry",
    "crane signalling",
    "CNC set-up",
    "label printing",
)
_CERTIFICATES = (
    "",
    "",
    "OSHA 10",
    "OSHA 30",
    '"OSHA 10, Forklift"',
    "Forklift",
    "CDL A",
    "CDL B",
    '"AWS D1.1, ""structural"""',
    "Food Handler",
    '"First Aid, CPR"',
    "HAZMAT",
    "",
    "EPA 608",
    '"Forklift, ""stand-up"""',
    "TWIC",
)
# City, state and the first three digits of the zip code.
_PLACES = (
    ("Boston", "MA", "021"),
    ("Newark", "NJ", "071"),
    ("Hartford", "CT", "061"),
    ("Providence", "RI", "029"),
    ("Chicago", "IL", "606"),
    ("Columbus", "OH", "432"),
    ("Detroit", "MI", "482"),
    ("Indianapolis", "IN", "462"),
    ("Houston", "TX", "770"),
    ("Dallas", "TX", "752"),
    ("Phoenix", "AZ", "850"),
    ("Denver", "CO", "802"),
    ("Atlanta", "GA", "303"),
    ("Memphis", "TN", "381"),
    ("Seattle", "WA", "981"),
    ("San Juan", "PR", "009"),
)
_AVAILABILITY = ("immediate", "two weeks", "weekends", "on call")
_STATUS = ("active", "active", "active", "inactive", "on assignment", "on assignment", "on leave", "archived")
_SHIFTS = ("day", "evening", "night", "rotating")
_VERBS = ("Loaded", "Sorted", "Inspected", "Operated", "Maintained", "Assembled", "Counted", "Repaired")
_THINGS = ("inbound pallets", "boxed orders", "steel frames", "packing lines", "spare parts", "cold goods")
_PLACES_OF_WORK = ("in a cross-dock warehouse", "on a night crew", "at a food plant", "for a parts supplier")
_FIRST_DAY = date(2020, 1, 1)


def write_csv(path: str | Path, rows: int = 500_000, seed: int = 1) -> None:
    """Write `rows` rows under a header line as RFC 4180 CSV in UTF-8 with LF line ends."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for text in batches(rows, seed):
            file.write(text)


def batches(rows: int, seed: int) -> Iterator[str]:
    """The CSV text without its header, a few thousand rows at a time."""
    # Random.randbytes and getrandbits are the parts of `random` that stay the same from release to release.
    source = random.Random(seed)
    plain, broken = _phrases(source, " "), _phrases(source, "\n")
    skills = [f'"{a}, {b}"' if i % 3 else a for i, (a, b) in enumerate(_pairs(_SKILLS))]
    hundredths = [f"{n / 100:.2f}" for n in range(256)]
    days = [(_FIRST_DAY + timedelta(days=7 * n)).isoformat() for n in range(256)]
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        drawn = source.randbytes(count * _ROW_BYTES)
        lines = []
        for n in range(count):
            b = drawn[n * _ROW_BYTES : (n + 1) * _ROW_BYTES]
            worker = start + n + 1
            city, state, prefix = _PLACES[b[0] & 15]
            pieces = broken if b[1] & 1 else plain
            pay = f"{12 + b[2] % 40}.{b[3] % 100:02d}" if b[4] > 5 else ""
            lines.append(
                f"{worker},Worker {worker:06d},{_ROLES[b[5] & 15]},{skills[b[6]]},{_CERTIFICATES[b[7] & 15]},"
                f"{city},{state},{prefix}{b[8] % 100:02d},{_AVAILABILITY[b[9] & 3]},{_STATUS[b[10] & 7]},"
                f"{b[11] % 35},{hundredths[b[12] % 101]},{pay},{_SHIFTS[b[13] & 3]},{days[b[14]]},"
                f"+1-{200 + b[15]}-555-01{b[16] % 100:02d},worker{worker:06d}@example.com,"
                f'"{"".join([pieces[i] for i in b[18:]])}"\n'
            )
        yield "".join(lines)


def _pairs(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """256 ordered pairs of different words."""
    return [(words[n & 15], words[(n + 1 + (n >> 4) % 15) & 15]) for n in range(256)]


def _phrases(source: random.Random, end: str) -> list[str]:
    """256 phrases of about 34 characters, quotes already doubled; every fourth ends as asked."""
    found = []
    for n in range(256):
        verb = _VERBS[source.getrandbits(3)]
        thing = _THINGS[source.getrandbits(8) % len(_THINGS)]
        place = _PLACES_OF_WORK[source.getrandbits(2)]
        tail = f' (""level {source.getrandbits(2)}"")' if n % 16 == 0 else f", {source.getrandbits(10)} a day"
        text = (f"{verb} {thing}", f"{thing} {place}", f"{verb} {thing}{tail}")[n % 3]
        found.append(f"{text}.{end if n % 4 == 0 else ' '}")
    return found


def main() -> None:
    """Write the table from the command line."""
    parser = argparse.ArgumentParser(description="Write the seeded staffing table as CSV.")
    parser.add_argument("out", type=Path, help="The file to write.")
    parser.add_argument("--rows", type=int, default=500_000, help="How many rows (default 500000).")
    parser.add_argument("--seed", type=int, default=1, help="Which table; the same seed gives the same bytes.")
    given = parser.parse_args()
    write_csv(given.out, given.rows, given.seed)


if __name__ == "__main__":
    main()
