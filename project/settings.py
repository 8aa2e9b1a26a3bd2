"""Settings, from the environment or else from ``.env``. ``.env.example`` explains them."""

from __future__ import annotations

from pathlib import Path

import environ
from csp.constants import NONE, SELF

from agentstate.rollout import thresholds
from project.database import database_from_url
from project.secret_key import local_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# Data of local use: the embedded PostgreSQL, the secret key, the password of the login.
AGENTSTATE_DATA_DIR = BASE_DIR / Path(env.str("AGENTSTATE_DATA_DIR", default="") or ".data").expanduser()
AGENTSTATE_OPEN_PARENT_FOLDERS = env.bool("AGENTSTATE_OPEN_PARENT_FOLDERS", default=False)

# Without a key, only commands that need one, such as serving, are refused.
SECRET_KEY = env.str("SECRET_KEY", default="") or local_secret_key(AGENTSTATE_DATA_DIR)

DATABASE = database_from_url(env.str("DATABASE_URL", default="").strip())
DATABASES = {"default": DATABASE.settings}

# A replica for verification, the rollout's counts and the admin's lists.
if READ_DATABASE_URL := env.str("AGENTSTATE_READ_DATABASE_URL", default="").strip():
    replica = database_from_url(READ_DATABASE_URL, "AGENTSTATE_READ_DATABASE_URL")
    DATABASES["replica"] = {**replica.settings, "TEST": {"MIRROR": "default"}}
    AGENTSTATE_READ_DATABASE = "replica"

# Where the API hands over the intake of documents. By default Django does it at once, in the request.
TASKS_BACKEND = env.str("AGENTSTATE_TASKS_BACKEND", default="")
if TASKS_BACKEND:
    TASKS = {"default": {"BACKEND": TASKS_BACKEND}}

INSTALLED_APPS = [
    "project",
    "agentstate",
    "agentstate.samples",
    "waffle",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "csp",
    "ninja",  # its style sheet and script of the API's pages
    # Its tables hold the tasks, and its command db_worker does them.
    *(["django_tasks_db"] if TASKS_BACKEND.startswith("django_tasks_db.") else []),
    # Its one migration drops the legacy columns.
    *(["agentstate.contract"] if env.bool("AGENTSTATE_CONTRACT", default=False) else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

# No inline script or style: what a payload holds is never run.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    },
}

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

# Each process has its own short-lived cache of flags, so a change reaches every process within its TIMEOUT.
WAFFLE_FLAG_MODEL = "agentstate.Flag"
WAFFLE_CACHE_NAME = "flags"
WAFFLE_ENABLE_ADMIN_PAGES = False  # of its samples and switches, which nothing here uses
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "flags": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "flags",
        "TIMEOUT": 1,
    },
}

# Lets manage.py migrate make an empty "Project" although another schema of the database has one.
AGENTSTATE_NEW_PROJECT_TABLE = env.bool("AGENTSTATE_NEW_PROJECT_TABLE", default=False)

# Lets manage.py migrate rename the tables of runs, events and sessions that Prisma made, and copy their rows.
AGENTSTATE_ADOPT_PRISMA_RUNS = env.bool("AGENTSTATE_ADOPT_PRISMA_RUNS", default=False)

# Thresholds of the steps of manage.py agentkit_rollout.
AGENTSTATE_ROLLOUT_LAG_MINUTES = env.int("AGENTSTATE_ROLLOUT_LAG_MINUTES", default=thresholds.LAG_MINUTES)
AGENTSTATE_ROLLOUT_COMPARED = env.int("AGENTSTATE_ROLLOUT_COMPARED", default=thresholds.COMPARED)
AGENTSTATE_ROLLOUT_HOURS = env.float("AGENTSTATE_ROLLOUT_HOURS", default=thresholds.HOURS)

# Origins whose pages may use the HTTP API from a browser, with a token.
AGENTSTATE_API_ORIGINS = env.list("AGENTSTATE_API_ORIGINS", default=[])

# One switch for everything that keeps browsers on HTTPS.
AGENTSTATE_HTTPS = env.bool("AGENTSTATE_HTTPS", default=False)
SECURE_SSL_REDIRECT = AGENTSTATE_HTTPS
SESSION_COOKIE_SECURE = AGENTSTATE_HTTPS
CSRF_COOKIE_SECURE = AGENTSTATE_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if AGENTSTATE_HTTPS else 0
# The owner of the whole domain decides on subdomains and preload lists.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# Only behind a proxy that sets this header itself. Otherwise any client could claim HTTPS.
if env.bool("AGENTSTATE_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# While DEBUG is off, Django's default prints no errors and mails them to ADMINS, of which there are none.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
}
