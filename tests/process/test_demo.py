"""What a newcomer runs first."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_the_demo_shows_the_founding_rule_at_work(tmp_path):
    """Forged mail is rejected with the rule and the table line that decided; everything legitimate passes."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "demo"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("-> REJECT 5.7.1 Authentication required to send as ") == 3
    assert done.stdout.count("-> DUNNO") == 5
    assert "example.com in table local_domains (conf/tables/local-domains:10)" in done.stdout
    sample = (ROOT / "README.md").read_text().split("    forged, from outside: ")[1].split("\n\n")[0]
    assert textwrap.dedent("    forged, from outside: " + sample) in done.stdout
    assert "8 of 8 verdicts as expected" in done.stdout
