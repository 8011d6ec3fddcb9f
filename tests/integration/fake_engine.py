"""
A stand-in for `python -m tradingbot_engine` in tests of the runner: a child that answers, hangs or crashes as told.

It trades nothing; what it is told stands in $FAKE (JSON), read anew at each start. The real engine is tried in
test_run_localnet.py.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOLD = json.loads(Path(os.environ["FAKE"]).read_text()) if os.path.exists(os.environ["FAKE"]) else {}
ARGS = sys.argv[2:]
STATE = {"phase": "READY", "signals": {"total": 7, "refused": {}}, "openIntents": TOLD.get("open", 0)}


def option(name):
    return ARGS[ARGS.index(name) + 1] if name in ARGS else None


def watch_parent(then):
    def watch():
        while os.getppid() == int(option("--parent-pid")):
            time.sleep(0.1)
        then()

    threading.Thread(target=watch, daemon=True).start()


def note(event):
    with open(os.environ["FAKE"] + ".log", "a") as log:
        log.write(json.dumps({"event": event, "role": sys.argv[1], "pid": os.getpid(), "args": ARGS}) + "\n")


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, data, status=200):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Admin(Handler):
    def serve(self):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "a bearer token is needed"}, 401)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.path.startswith("/v1/drain"):
            note("drain")
            if not TOLD.get("never_drains"):
                STATE["phase"] = "DRAINING"
                threading.Timer(TOLD.get("drain_s", 0), lambda: STATE.update(phase="STOPPED")).start()
        if self.path == "/v1/live":
            note(f"live {json.dumps(body, sort_keys=True)}")
        return self.answer(STATE)

    do_GET = do_POST = do_PUT = serve  # noqa: N815  # the base class's names


class Node(Handler):
    def do_GET(self):
        self.answer({"market_clock": {"origin_slot": 1, "origin_ms": 1, "ms_per_slot": 24_000.0}})

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if call["method"] == "requestAirdrop":
            note("airdrop")
            STATE["lamports"] = call["params"][1]
        self.answer({"jsonrpc": "2.0", "id": call["id"], "result": {"value": STATE.get("lamports", 0)}})


def leave(code):
    note(f"leaves with {code}")
    os._exit(code)


def run():
    global TOKEN
    config = json.loads(Path(option("--config")).read_text())
    if TOLD.get("bad_settings"):
        print("risk.capital: must be greater than 0", file=sys.stderr)
        leave(2)
    TOKEN = "secret"
    with open(config["admin"]["token_file"], "w") as file:
        file.write(TOKEN)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Admin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(config["admin"]["port_file"] + ".new", "w") as file:
        file.write(str(server.server_address[1]))
    os.replace(config["admin"]["port_file"] + ".new", config["admin"]["port_file"])
    code = 3 if TOLD.get("open") else 0
    if TOLD.get("ignores_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: leave(code))
    signal.signal(signal.SIGQUIT, lambda *_: leave(code))
    watch_parent(lambda: leave(0))
    note("runs")
    if crashes := TOLD.get("crashes_after_s"):
        threading.Timer(crashes, lambda: leave(1)).start()
    while True:
        time.sleep(0.1)


def localnet():
    if TOLD.get("localnet_fails"):
        print("no port to be had", file=sys.stderr)
        leave(1)
    if refused := TOLD.get("refuses"):
        print(f"Error: {refused}: no time", file=sys.stderr)
        leave(2)
    remembered = Path(option("--state-dir") + ".port")  # the real one remembers its ports, and leaves them for --port
    port = option("--port") or (remembered.read_text() if remembered.exists() else 0)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Node)
    remembered.write_text(str(server.server_address[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    signal.signal(signal.SIGTERM, lambda *_: leave(0))
    watch_parent(lambda: None if TOLD.get("localnet_stays") else leave(0))
    note("runs")
    print(
        json.dumps({"nodes": [{"http": url, "websocket": url.replace("http", "ws")}], "swap": url}),
        flush=True,
    )
    while True:
        time.sleep(0.1)


def audit():
    note("audit")
    if TOLD.get("audit_fails"):
        print("audit: the node does not answer", file=sys.stderr)
        sys.exit(1)
    print(
        json.dumps(
            {"open": TOLD.get("open", 0), "doubled": TOLD.get("doubled", 0), "lost": 0, "phantom": 0, "foreign": 0}
        )
    )
    sys.exit(1 if TOLD.get("doubled") else 0)


def reset_tier():
    assert Path(option("--state-dir"), "engine.json").is_file()
    print(f"reset: {option('--reason')}")


if __name__ == "__main__":
    {"reset-tier": reset_tier, "run": run, "localnet": localnet, "audit": audit}[sys.argv[1]]()
