"""What a hotel reads about a failed approval, and about what an approval grants; in English, marked for the catalogs.

A hotel reads these words, and an operator those of `errors`: a hotel can neither run a command nor change a setting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudbeds_auth.errors import (
    AmbiguousProperty,
    AuthorizationDenied,
    AuthorizationExpired,
    ClientRefused,
    ConnectionDisconnected,
    Error,
    Forbidden,
    InvalidRequest,
    InvalidReturnTo,
    KeyRefused,
    PropertyMismatch,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StateMismatch,
    StoreReadOnly,
    StoreUnavailable,
    TokenEndpointUnavailable,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.rules.languages import marked

NOTHING_LOST = marked("No. What was connected before stays connected.")
THE_APPROVAL = marked("Only the earlier approval. Nothing at Cloudbeds was changed.")
AGAIN_LATER = marked("Wait a few minutes, then start again.")
BY_ITSELF = marked("Nothing. If your hotel is not connected in ten minutes, start again.")
ASK_THEM = marked("Tell the people who sent you here. There is nothing that you can do about it.")
OPEN_THE_LINK = marked("Open the link that you were sent once more, or ask for a new one.")


@dataclass(frozen=True, slots=True)
class HotelWords:
    """What happened, what to do next, and what is lost, in whole sentences addressed to the reader.

    `again`: starting again helps, so a page without a button for it says how.
    """

    title: str
    text: str
    next_step: str
    lost: str = NOTHING_LOST
    again: bool = True


UNFORESEEN = HotelWords(
    marked("This did not work"),
    marked("Something went wrong on our side. It is not your fault."),
    marked("Try again in a few minutes. If that does not help, tell the people who run the app."),
    again=False,
)
NOT_READY = HotelWords(
    marked("Your hotel cannot be connected at the moment"),
    marked("Something is not in order on our side. It is not your fault, and nothing was changed."),
    ASK_THEM,
    again=False,
)
DENIED_BY_CLOUDBEDS = HotelWords(
    marked("Cloudbeds did not approve"),
    marked("Cloudbeds sent you back without an approval, so your hotel was not connected."),
    AGAIN_LATER,
)
NO_SUCH_PAGE = HotelWords(
    marked("There is no such page"),
    marked("The address is not complete, or there is nothing there any more."),
    OPEN_THE_LINK,
    again=False,
)
WORDS = {
    AuthorizationDenied.code: HotelWords(
        marked("You did not approve"),
        marked("You came back from Cloudbeds without an approval, so your hotel was not connected."),
        marked("Start again when you are ready to approve. If you did not want this, close this page."),
    ),
    AuthorizationExpired.code: HotelWords(
        marked("This link or approval is not valid any more"),
        marked(
            "A link connects one hotel, once, and for a limited time. An approval has to be finished within ten "
            "minutes."
        ),
        marked("If your hotel is connected already, there is nothing to do. If not, start again."),
    ),
    StateMismatch.code: HotelWords(
        marked("This approval does not belong to this browser"),
        marked(
            "It was begun in another browser, or too long ago, or this browser keeps no cookies for this site. To "
            "protect your hotel, an approval is taken only where it was begun."
        ),
        marked("Allow cookies for this site, then start again, and stay in this browser until you are done."),
    ),
    PropertyMismatch.code: HotelWords(
        marked("Another hotel was approved"),
        marked("The approval is for another property than this link was made for, so your hotel was not connected."),
        marked("Start again, and sign in to Cloudbeds with the right property."),
    ),
    KeyRefused.code: HotelWords(
        marked("This API key cannot be used"),
        marked(
            "This key cannot be used. It may be incomplete, it may have been revoked, or it lacks a permission. A key "
            "begins with cbat_ and has no spaces in it."
        ),
        marked("Copy the whole key once more, or make a new one at Cloudbeds with all the permissions."),
    ),
    Forbidden.code: HotelWords(
        marked("You need a link to connect your hotel"),
        marked("A hotel is connected here by a link that was made for it, and this address is none."),
        marked("Ask the people who run the app for a link."),
        again=False,
    ),
    InvalidReturnTo.code: HotelWords(
        marked("The way back is not known here"),
        marked("The page that sent you here named an address to return to that it may not use. Nothing was begun."),
        ASK_THEM,
        again=False,
    ),
    InvalidRequest.code: HotelWords(
        marked("This page cannot be used like this"),
        marked("The address or the form was not complete, or your link is for another step."),
        OPEN_THE_LINK,
        again=False,
    ),
    RateLimited.code: HotelWords(
        marked("Too many hotels are connecting at once"),
        marked("So that it works for everybody, only so many approvals are taken in a few minutes."),
        marked("Wait ten minutes, then start again."),
    ),
    TokenEndpointUnavailable.code: HotelWords(
        marked("Cloudbeds does not answer at the moment"),
        marked("Cloudbeds could not be reached, so your hotel was not connected."),
        AGAIN_LATER,
    ),
    StoreUnavailable.code: HotelWords(
        marked("Nothing can be saved here at the moment"),
        marked("Your hotel can be connected once that is mended. It is not your fault."),
        AGAIN_LATER,
    ),
    StoreReadOnly.code: NOT_READY,
    ClientRefused.code: NOT_READY,
    RefreshPending.code: HotelWords(
        marked("Your approval is being saved"),
        marked("It takes longer than usual. Your hotel is connected as soon as it is done; you need not wait for it."),
        BY_ITSELF,
    ),
    RefreshInDoubt.code: HotelWords(
        marked("Your approval has arrived"),
        marked("Cloudbeds has not said yet which property it is for. It is asked again until your hotel is connected."),
        BY_ITSELF,
    ),
    ReauthorizationRequired.code: HotelWords(
        marked("Your hotel has to approve once more"),
        marked("Cloudbeds does not accept the earlier approval any more, so nothing can be done for your hotel."),
        marked("Connect your hotel again. It takes a minute."),
        THE_APPROVAL,
    ),
    ConnectionDisconnected.code: HotelWords(
        marked("Your hotel was disconnected"),
        marked("The connection was ended, here or at Cloudbeds."),
        marked("Connect your hotel again if you want to go on."),
        THE_APPROVAL,
    ),
    Unclaimed.code: HotelWords(
        marked("Your approval is waiting"),
        marked("It has arrived, and was not assigned to your account yet."),
        ASK_THEM,
        again=False,
    ),
    UnknownConnection.code: HotelWords(
        marked("This hotel is not connected here"),
        marked("Nothing is known here by this name."),
        ASK_THEM,
        again=False,
    ),
    AmbiguousProperty.code: HotelWords(
        marked("It is not clear which hotel is meant"),
        marked("Several connections are for this property."),
        ASK_THEM,
        again=False,
    ),
}
"""By error code. Errors that are not listed are no fault of the hotel: `UNFORESEEN`."""

BESIDE_A_FORM = {
    PropertyMismatch.code: marked("This key is for another property than this link was made for."),
    InvalidRequest.code: marked("What was entered cannot be used."),
}
"""Words above a form that is shown again, by error code, if they differ from those in `WORDS`."""


def words_of(error: Error) -> HotelWords:
    """The words for an error. A denial is Cloudbeds' own unless its detail says that the hotel denied."""
    if error.code == InvalidRequest.code and error.status == 404:
        return NO_SUCH_PAGE
    if error.code == AuthorizationDenied.code and not error.detail.startswith(AuthorizationDenied.title()):
        return DENIED_BY_CLOUDBEDS
    return WORDS.get(error.code, UNFORESEEN)


def words_beside_a_form(error: Error) -> str:
    """What is wrong with the input of a form."""
    return BESIDE_A_FORM.get(error.code) or words_of(error).text


ACTS = {"read": marked("see"), "write": marked("change"), "delete": marked("delete")}
SUBJECTS = {
    "addon": marked("Add-ons"),
    "adjustment": marked("Adjustments to bills"),
    "allotmentblock": marked("Allotment blocks"),
    "apperror": marked("Error reports of the app"),
    "apppropertysettings": marked("Settings of the app"),
    "communication": marked("Messages to guests"),
    "currency": marked("Currencies"),
    "customfields": marked("Custom fields"),
    "dashboard": marked("Dashboard"),
    "datainsightsguests": marked("Reports on guests"),
    "datainsightsinvoices": marked("Reports on invoices"),
    "datainsightsoccupancy": marked("Reports on occupancy"),
    "datainsightspayments": marked("Reports on payments"),
    "datainsightsreservations": marked("Reports on reservations"),
    "doorlockkey": marked("Door keys"),
    "group": marked("Groups"),
    "guest": marked("Guests"),
    "hotel": marked("Your hotel's details"),
    "houseaccount": marked("House accounts"),
    "housekeeping": marked("Housekeeping"),
    "item": marked("Items and services"),
    "marketsegment": marked("Market segments"),
    "nightaudit": marked("Night audit"),
    "package": marked("Packages"),
    "payment": marked("Payments"),
    "rate": marked("Rates"),
    "reservation": marked("Reservations"),
    "room": marked("Rooms"),
    "roomblock": marked("Room blocks"),
    "taxesandfees": marked("Taxes and fees"),
    "user": marked("Users"),
}
"""The subjects of Cloudbeds' scopes in words, by their names in lower case, because its pages disagree on the case.
A scope that is not listed is shown as it is.
"""


@dataclass(frozen=True, slots=True)
class Permission:
    """One line of what is granted: a subject and the acts on it in words, or a scope without words as it is."""

    subject: str
    acts: tuple[str, ...] = ()


def permissions_in(scopes: Iterable[str]) -> list[Permission]:
    """What these scopes grant, in their order; each subject once."""
    found: dict[str, tuple[str, ...]] = {}
    for scope in scopes:
        act, _, subject = scope.partition(":")
        if act in ACTS and (words := SUBJECTS.get(subject.lower())):
            found[words] = tuple(dict.fromkeys((*found.get(words, ()), ACTS[act])))
        else:
            found[scope] = ()
    return [Permission(subject, acts) for subject, acts in found.items()]
