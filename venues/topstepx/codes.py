"""TopstepX error codes by endpoint, by name (protocol page 1.7). The same number means different things elsewhere."""

from collections.abc import Mapping

_SEARCH = {1: "AccountNotFound"}
_SESSION = {1: "InvalidSession", 2: "SessionNotFound", 3: "ExpiredToken", 4: "UnknownError"}
_CHANGE = {1: "AccountNotFound", 2: "OrderNotFound", 3: "Rejected", 4: "Pending", 5: "UnknownError",
           6: "AccountRejected"}  # fmt: skip
CODES: Mapping[str, Mapping[int, str]] = {
    "Auth/loginKey": {
        1: "UserNotFound",
        2: "PasswordVerificationFailed",
        3: "InvalidCredentials",
        4: "AppNotFound",
        5: "AppVerificationFailed",
        6: "InvalidDevice",
        7: "AgreementsNotSigned",
        8: "UnknownError",
        9: "ApiSubscriptionNotFound",
        10: "ApiKeyAuthenticationDisabled",
    },
    "Auth/validate": _SESSION,
    "Contract/searchById": {1: "ContractNotFound"},
    "History/retrieveBars": {1: "ContractNotFound", 2: "UnitInvalid", 3: "UnitNumberInvalid", 4: "LimitInvalid"},
    "Order/search": _SEARCH,
    "Order/searchOpen": _SEARCH,
    "Order/searchById": {1: "OrderNotFound"},
    "Position/searchOpen": _SEARCH,
    "Trade/search": _SEARCH,
    "Order/place": {
        1: "AccountNotFound",
        2: "OrderRejected",
        3: "InsufficientFunds",
        4: "AccountViolation",
        5: "OutsideTradingHours",
        6: "OrderPending",
        7: "UnknownError",
        8: "ContractNotFound",
        9: "ContractNotActive",
        10: "AccountRejected",
    },
    "Order/modify": {**_CHANGE, 7: "ContractNotFound"},
    "Order/cancel": _CHANGE,
    "Position/closeContract": {
        1: "AccountNotFound",
        2: "PositionNotFound",
        3: "ContractNotFound",
        4: "ContractNotActive",
        5: "OrderRejected",
        6: "OrderPending",
        7: "UnknownError",
        8: "AccountRejected",
    },
    "Position/partialCloseContract": {
        1: "AccountNotFound",
        2: "PositionNotFound",
        3: "ContractNotFound",
        4: "ContractNotActive",
        5: "InvalidCloseSize",
        6: "OrderRejected",
        7: "OrderPending",
        8: "UnknownError",
        9: "AccountRejected",
    },
}
LOGIN_ADVICE = {
    "UserNotFound": "check TOPSTEPX_USERNAME: the platform's login name, not the e-mail address",
    "PasswordVerificationFailed": "check TOPSTEPX_API_KEY",
    "InvalidCredentials": "check TOPSTEPX_USERNAME and TOPSTEPX_API_KEY (TopstepX, Settings > API)",
    "AppNotFound": "make a new key (TopstepX, Settings > API)",
    "AppVerificationFailed": "make a new key (TopstepX, Settings > API)",
    "InvalidDevice": "log in to the platform on this device first",
    "AgreementsNotSigned": "log in to the platform and accept the agreements",
    "ApiSubscriptionNotFound": "buy the API subscription and link the user (TopstepX, Settings > API)",
    "ApiKeyAuthenticationDisabled": "enable login by key, or make a new one (TopstepX, Settings > API)",
}


def code_name(what: str, code: int) -> str:
    """ "OrderRejected (2)"; the lists have grown before, so a number that is not there is only called a code."""
    name = CODES.get(what, {}).get(code)
    return f"{name} ({code})" if name else f"code {code}"
