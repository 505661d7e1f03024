"""Exit code 0 if Ansible would start in this locale: it is installed, and it is UTF-8."""

import locale
import sys

try:
    locale.setlocale(locale.LC_ALL, "")
    encoding = locale.getlocale()[1] or ""
except (locale.Error, ValueError):
    sys.exit(1)
sys.exit(encoding.lower() not in ("utf-8", "utf8") or sys.getfilesystemencoding() != "utf-8")
