"""Acts as a user with google-auth alone, against a sandbox: nothing here is ours.

Environment: BASE (http://127.0.0.1:PORT), GCE_METADATA_HOST and GCE_METADATA_IP
(127.0.0.1:PORT, for google-auth itself), SDK (the Cloud SDK's lib/third_party), USER, LETTER (base64), and
KEY, unless empty a service account's key file, which then signs in place of IAM.
"""

import base64
import os
import sys
from urllib.parse import urlsplit, urlunsplit

sys.path.insert(0, os.environ["SDK"])

import google.auth.compute_engine as compute_engine
import google.auth.impersonated_credentials as impersonated
import requests
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

BASE = urlsplit(os.environ["BASE"])
GMAIL = "https://gmail.googleapis.com"
SCOPES = ["https://www.googleapis.com/auth/gmail.insert", "https://www.googleapis.com/auth/gmail.readonly"]


class Rewrite(requests.adapters.HTTPAdapter):
    """Sends https://HOST/PATH to BASE/HOST/PATH."""

    def send(self, request, **kwargs):
        url = urlsplit(request.url)
        if url.netloc != BASE.netloc:
            request.url = urlunsplit((BASE.scheme, BASE.netloc, "/" + url.netloc + url.path, url.query, ""))
        return super().send(request, **kwargs)


def session():
    s = requests.Session()
    s.trust_env = False
    s.mount("https://", Rewrite())
    s.mount("http://", Rewrite())
    return s


def through_iam(request, user):
    """The machine's own account acts as the user, and IAM signs."""
    machine = compute_engine.Credentials()
    machine.refresh(request)
    return machine.service_account_email, impersonated.Credentials(
        source_credentials=machine,
        target_principal=machine.service_account_email,
        target_scopes=SCOPES,
        subject=user,
    )


def with_key(user):
    """A key file acts as the user."""
    creds = service_account.Credentials.from_service_account_file(os.environ["KEY"], scopes=SCOPES, subject=user)
    return creds.service_account_email, creds


def main():
    user, letter = os.environ["USER"], base64.b64decode(os.environ["LETTER"])
    request = Request(session())
    account, creds = with_key(user) if os.environ["KEY"] else through_iam(request, user)
    gmail = AuthorizedSession(creds, auth_request=request)
    gmail.trust_env = False
    gmail.mount("https://", Rewrite())

    sent = gmail.post(
        GMAIL + "/upload/gmail/v1/users/me/messages?uploadType=media",
        data=letter,
        headers={"Content-Type": "message/rfc822"},
    )
    sent.raise_for_status()
    got = gmail.get(GMAIL + "/gmail/v1/users/me/messages/" + sent.json()["id"], params={"format": "raw"})
    got.raise_for_status()
    assert base64.urlsafe_b64decode(got.json()["raw"]) == letter, "the letter came back changed"
    print(account, sent.json()["id"])


main()
