"""Tests of the sample application, run by the buildspec before anything is built."""

import sys
import unittest
from pathlib import Path

# The dependency as it will be installed: a wheel is an archive that Python imports from.
sys.path[:0] = [str(wheel) for wheel in Path(__file__).parent.joinpath("wheels").glob("*.whl")]

import app  # noqa: E402  (the path is set above)


def get(path):
    """Asks the application as a WSGI server would."""
    status = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "test", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    body = app.application(environ, lambda line, headers: status.append(line))
    return status[0], b"".join(body).decode()


class Application(unittest.TestCase):
    def test_the_page_shows_the_version(self):
        status, body = get("/")
        self.assertEqual(status, "200 OK")
        self.assertIn(f"<h1>Shop {app.VERSION}</h1>", body)

    def test_the_health_probe_answers(self):
        self.assertEqual(get("/healthz")[0], "200 OK")

    def test_other_paths_are_not_found(self):
        self.assertTrue(get("/admin")[0].startswith("404"))


if __name__ == "__main__":
    unittest.main()
