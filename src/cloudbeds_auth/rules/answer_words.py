"""What an answer of Cloudbeds means, for a person who made the call by hand."""

from __future__ import annotations

from cloudbeds_auth.rules.api_errors import NEXT_STEP, Act, Refusal

OF_STATUS = {
    400: "Cloudbeds does not understand the request: a parameter is missing or wrong",
    401: "the access token works, and Cloudbeds refuses this call all the same: it may not be part of the approval",
    404: "there is nothing at this path at Cloudbeds: compare it with its documentation",
    405: "this method is not read with GET",
    422: "Cloudbeds does not accept a parameter",
    429: "Cloudbeds asks for a pause: calls for this client id wait until it is over",
}
OF_ACT = {
    Act.SUSPECT: "Cloudbeds says that the approval has ended: that is checked, and the hotel's page will say so",
    Act.LOOK: "the access token may have ended: that is checked now",
    Act.HEAL: OF_STATUS[401],
}
FINE, REDIRECTED = "Cloudbeds answered", "Cloudbeds names another address, which is not followed"
OUTAGE = "Cloudbeds itself failed: nothing is lost, try it again in a while"
OTHERWISE = "Cloudbeds refused the call"


def answer_words(status: int, refusal: Refusal | None) -> str:
    """One sentence; `refusal`: what its body refuses, if anything (also under a 200)."""
    if refusal is not None and refusal.act is Act.REPORT:
        return NEXT_STEP[refusal.reason]
    if refusal is not None and refusal.act in OF_ACT:
        return OF_ACT[refusal.act]
    if status in OF_STATUS:
        return OF_STATUS[status]
    if status >= 500:
        return OUTAGE
    if status >= 400 or refusal is not None:
        return OTHERWISE
    return FINE if status < 300 else REDIRECTED
