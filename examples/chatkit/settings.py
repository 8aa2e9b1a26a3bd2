"""The repository's site with a chat beside the admin."""

from __future__ import annotations

from csp.constants import NONCE, SELF

from project.settings import *  # noqa: F403
from project.settings import AGENTSTATE_DATA_DIR, CONTENT_SECURITY_POLICY, TEMPLATES

ROOT_URLCONF = "examples.chatkit.urls"
LOGIN_URL = "admin:login"
MEDIA_ROOT = AGENTSTATE_DATA_DIR / "media"
TEMPLATES[0]["DIRS"] = ["examples/chatkit"]

# The widget is a script and a frame of OpenAI's.
WIDGET = "https://cdn.platform.openai.com"
CONTENT_SECURITY_POLICY["DIRECTIVES"].update(
    {"script-src": [SELF, NONCE, WIDGET], "frame-src": [WIDGET], "style-src": [SELF, "'unsafe-inline'"]}
)
