"""Signs of personal data in a column, and its values masked."""

import ipaddress
import re
from collections.abc import Callable, Sequence

from lakehouse.engine.profiling.facts import Hint

_MOST = 0.5  # of the values must be such
_SOME = 0.1  # of the values must have one within, of what stands in texts
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_SSN = re.compile(r"\d{3}-\d{2}-\d{4}")
_PHONE = re.compile(r"\+?\d?[\d\s().\-/]{6,24}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[2-6]\d{12,18}")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([T ].*)?")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_HEADERS = {
    "email": "email emailaddress mail mailaddress",
    "phone": "phone phonenumber phoneno mobile mobilephone mobilenumber cell cellphone tel telephone fax faxnumber",
    "ssn": "ssn socialsecurity socialsecuritynumber taxid nationalid",
    "iban": "iban bankaccount",
    "card": "card cardnumber creditcard creditcardnumber pan ccnumber",
    "ip": "ip ipaddress ipaddr clientip remoteip remoteaddr",
    "name": "firstname lastname fullname surname forename givenname familyname middlename maidenname personname "
    "contactname customername employeename patientname candidatename workername username",
}
_BY_HEADER = {word: kind for kind, words in _HEADERS.items() for word in words.split()}


def hints(header: str, values: Sequence[str], *, number: bool = False) -> list[Hint]:
    """What personal data a column seems to hold, by its header and some of its filled values.

    Numbers are never taken for phones: any long one looks like one.
    """
    found: list[Hint] = []
    for kind, test in _TESTS.items():
        if values and not (number and kind in ("phone", "ip")):
            share = sum(test(value.strip()) for value in values) / len(values)
            if share >= (_SOME if kind == "email" else _MOST):
                found.append(Hint(kind=kind, by="values", share=round(share, 2)))
    kind_of_header = _BY_HEADER.get(re.sub(r"[^a-z]", "", header.lower()))
    if kind_of_header and all(hint.kind != kind_of_header for hint in found):
        found.append(Hint(kind=kind_of_header, by="header"))
    return found


def masked(value: object) -> str:
    """A value of which only the first character is left, and nothing of its length."""
    text = str(value)
    return (text[:1] if len(text) > 3 else "") + "***"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return not text.isdigit()


def _is_phone(text: str) -> bool:
    digits = sum(mark.isdigit() for mark in text)
    if not 7 <= digits <= 15 or not _PHONE.fullmatch(text) or _DATE.fullmatch(text) or _SSN.fullmatch(text):
        return False
    # Codes (53-7051.00) mix what is between the digits; phone numbers have a country or an area in front where they do.
    mixed = len({"-", ".", "/"}.intersection(text)) > 1 and not text.startswith(("+", "("))
    return not mixed and not _NUMBER.fullmatch(text) and not _is_ip(text)


def _is_iban(text: str) -> bool:
    packed = text.replace(" ", "").upper()
    if not _IBAN.fullmatch(packed):
        return False
    # ISO 13616: the country and check digits behind, letters as numbers, the rest by 97 is 1.
    return int("".join(str(int(mark, 36)) for mark in packed[4:] + packed[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    packed = text.replace(" ", "").replace("-", "")
    if not _CARD.fullmatch(packed):
        return False
    # Luhn: every second digit from the right doubled, its digits summed.
    digits = [int(mark) for mark in reversed(packed)]
    return sum(sum(divmod(2 * d, 10)) if n % 2 else d for n, d in enumerate(digits)) % 10 == 0


_TESTS: dict[str, Callable[[str], bool]] = {
    "email": lambda text: _EMAIL.search(text) is not None,
    "ssn": lambda text: _SSN.fullmatch(text) is not None,
    "card": _is_card,
    "iban": _is_iban,
    "ip": _is_ip,
    "phone": _is_phone,
}
