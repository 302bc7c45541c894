"""The entry point: exit codes, messages, never a traceback without --debug; config and run need no server."""

import json
import os
import socket
import subprocess
import sys

import pytest


def run(*words, environ=None, stdin=""):
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **(environ or {})}
    done = subprocess.run(
        [sys.executable, "-m", "pxeserver", *words],
        capture_output=True,
        text=True,
        env=env,
        input=stdin,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr or "--debug" in words
    return done


def test_a_server_that_is_not_running_is_told_with_the_next_step(tmp_path):
    done = run("node", "list", "--socket", str(tmp_path / "none.sock"))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "the server is not running" in done.stderr
    assert "pxeserver run" in done.stderr and "systemctl" in done.stderr


def test_a_socket_that_nobody_listens_on(tmp_path):
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    done = run("status", environ={"PXESERVER_SOCKET": str(path)})
    assert (done.returncode, "nobody listens" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    "words", [["nod"], ["node", "lst"], ["node", "list", "--nope"], ["node", "add", "n[", "--socket", "/x"]]
)
def test_wrong_usage_is_exit_code_2(words):
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "next:" in done.stderr


def test_destructive_commands_need_yes_without_a_terminal(tmp_path):
    done = run("node", "remove", "n1", "--socket", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_the_socket_follows_the_configuration(tmp_path):
    (tmp_path / "config.toml").write_text(f'[server]\nrun_dir = "{tmp_path}/run"\n')
    done = run("status", environ={"PXESERVER_CONFIG": str(tmp_path / "config.toml")})
    assert f"{tmp_path}/run/api.sock" in done.stderr


def test_config_check_tells_every_fault_and_its_place(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[http]\nport = 0\nprot = 1\n")
    done = run("config", "check", "--config", str(file), environ={"PXESERVER_TFTP__PORT": "x"})
    assert done.returncode == 2
    assert f"{file}:2: http.port" in done.stderr and f"{file}:3: http.prot" in done.stderr
    assert "PXESERVER_TFTP__PORT: tftp.port" in done.stderr
    done = run("config", "check", "--config", str(file), "-o", "json")
    assert [f["where"] for f in json.loads(done.stdout)["faults"]] == [f"{file}:2", f"{file}:3"]
    file.write_text("[http]\nport = 8080\n")
    assert run("config", "check", "--config", str(file)).returncode == 0


def test_run_with_a_faulty_configuration_is_exit_code_2(tmp_path):
    done = run("run", "--state-dir", str(tmp_path), "--run-dir", str(tmp_path), "--unknown", "nonsense")
    assert done.returncode == 2
    assert "--unknown: policy.unknown" in done.stderr


def test_config_show_names_origins_and_hides_credentials(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        '[http]\nport = 8080\n[loaders]\nmirror = "http://user:hunter2@mirror/debian"\n'
        '[[subnet]]\nnetwork = "10.0.0.0/8"\n'
    )
    done = run("config", "show", "-c", str(file), "-o", "json", environ={"PXESERVER_TFTP__PORT": "6969"})
    assert "hunter2" not in done.stdout
    shown = {row["key"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
    assert shown["http.port"] == (8080, f"{file}:2")
    assert shown["tftp.port"] == (6969, "PXESERVER_TFTP__PORT")
    assert shown["dhcp.port"] == (67, "default")
    assert shown["loaders.mirror"] == ("http://(hidden)@mirror/debian", f"{file}:4")
    assert shown["subnet[1].network"] == ("10.0.0.0/8", f"{file}:6")


def test_config_schema_is_a_json_schema():
    schema = json.loads(run("config", "schema").stdout)
    assert schema["properties"]["http"]
    assert schema["$defs"]["HttpSettings"]["additionalProperties"] is False
    assert schema["$defs"]["HttpSettings"]["properties"]["port"]["description"]


def test_an_error_of_the_program_is_a_sentence_and_a_traceback_only_with_debug(tmp_path):
    # A directory where a file is expected is not foreseen by `loader export`'s argument check.
    environ = {"PXESERVER_SOCKET": "x" * 200}
    done = run("status", environ=environ)
    assert done.returncode in (1, 3)
    assert done.stderr.startswith("error: ")
    assert "Traceback" in run("status", "--debug", environ=environ).stderr


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("node", "hold", "web"), "pxeserver node hold --help"),
        (("image", "add", "x", "/y"), "pxeserver image add --help"),
        (("node", "nope"), "pxeserver node --help"),
        (("nope",), "pxeserver --help"),
    ],
)
def test_a_command_that_is_not_understood_names_its_own_help(words, command):
    assert f"`{command}` shows how" in run(*words).stderr


def test_the_first_help_shows_first_steps_and_only_there():
    assert "pxeserver node approve CODE web --profile live" in run("--help").stdout
    assert "First steps" not in run("node", "--help").stdout
