"""Why a light client refuses what comes with a day's proof: certificate, link to the day before, inclusion."""

from __future__ import annotations

from enum import StrEnum


class DayFlaw(StrEnum):
    """Reasons of `ProofRejected` and `ProofMalformed` beside those of a proof; stable names, one test per member.

    `malformed`: the bytes are not the canonical form of the record they claim to be; the place says which field.
    """

    MALFORMED = "malformed"
    WRONG_PLACE = "wrong_place"
    HEADERS_NOT_LINKED = "headers_not_linked"
    WRONG_PAYLOAD = "wrong_payload"
    NO_RUN = "no_run"
    BAD_RUN = "bad_run"
    FOREIGN_VALIDATORS = "foreign_validators"
    OTHER_STATEMENT = "other_statement"
    UNKNOWN_SIGNER = "unknown_signer"
    TOO_FEW_VOTES = "too_few_votes"
    BAD_SIGNATURE = "bad_signature"
    NOT_THE_NEXT_DAY = "not_the_next_day"
    OTHER_CHAIN = "other_chain"
    NO_SUCH_TRANSACTION = "no_such_transaction"
    NOT_INCLUDED = "not_included"
