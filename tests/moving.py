"""What runs and lies in an environment that is moved: a service, a writer, files of all kinds."""

from __future__ import annotations

PORT = 8000
# Appends what is posted, and counts by itself: a live writer.
SERVICE = f"""
import http.server, os, threading, time
log = os.open("/srv/entries", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        os.write(log, body + b"\\n")
        self.answer(201)
    def answer(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
def count():
    number = 0
    with open("/srv/numbers", "a") as numbers:
        while True:
            number += 1
            numbers.write(f"{{number}}\\n")
            numbers.flush()
            time.sleep(0.005)
threading.Thread(target=count, daemon=True).start()
http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""
UNIT = """[Service]
ExecStart=/usr/bin/python3 /srv/%p.py
[Install]
WantedBy=multi-user.target
"""

PROXIED, OPENED = 8001, 9000
# Tells the signature and the client's address of the PROXY header.
TELLS_HEADER = f"""\
def proxied():
    server = socket.create_server(("", {PROXIED}))
    while True:
        line, _ = server.accept()
        head = line.recv(16, socket.MSG_WAITALL)
        rest = line.recv(struct.unpack("!H", head[14:16])[0], socket.MSG_WAITALL)
        line.recv(65536)
        text = (head[:12].hex() + " " + socket.inet_ntoa(rest[:4])).encode()
        line.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text) + text)
        line.close()
"""
# At the one port tells the client's address of the PROXY header, at the other one that of the
# connection (TCP), and says again what it is told (UDP).
TELLER = f"""
import socket, struct, threading
{TELLS_HEADER}
def told():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", {OPENED}))
    while True:
        data, client = server.recvfrom(99)
        server.sendto(data, client)
for work in (proxied, told):
    threading.Thread(target=work, daemon=True).start()
server = socket.create_server(("", {OPENED}))
while True:
    line, client = server.accept()
    line.sendall(client[0].encode())
    line.close()
"""

# What a copy must not lose: subvolumes within subvolumes, one read-only, and all that files have.
SHAPES = r"""
import os, fcntl, struct
os.makedirs("/srv/shapes", exist_ok=True)
os.chdir("/srv/shapes")
def subvolume(path):
    folder, name = os.path.split(path)
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        named = bytearray(struct.pack("<q4088s", 0, name.encode()))
        fcntl.ioctl(handle, 0x5000940E, named)
    except OSError:
        os.mkdir(path)
    os.close(handle)
for path in ("outer", "outer/inner", "outer/inner/deep", "sealed"):
    subvolume(path)
    open(path + "/file", "w").write(path)
open("suid", "w").write("x"); os.chown("suid", 1000, 1000); os.chmod("suid", 0o4755)
os.setxattr("suid", "user.mark", b"yes")
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in (
    (1, 7, 0xffffffff), (2, 6, 1234), (4, 5, 0xffffffff), (16, 7, 0xffffffff), (32, 4, 0xffffffff)))
os.setxattr("suid", "system.posix_acl_access", acl)
open("able", "w").write("x"); os.chown("able", 1000, 1000)
os.setxattr("able", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
os.link("suid", "hard")
os.symlink("/nowhere", "soft")
os.mkfifo("fifo")
with open("sparse", "wb") as file:
    file.seek(64 << 20); file.write(b"end")
try:
    handle = os.open("sealed", os.O_RDONLY)
    fcntl.ioctl(handle, 0x4008941A, struct.pack("<Q", 2))
except OSError:
    pass
"""
LOOK = r"""
import os, json, hashlib
found = {}
for top in ("/srv/shapes", "/etc", "/root"):
    for folder, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(folder, name)
            if path in ("/etc/hosts", "/etc/corpus/environment.json", "/etc/salt/grains",
                        "/etc/hostname", "/etc/salt/minion_id", "/etc/resolv.conf"):
                continue
            s = os.lstat(path)
            one = [s.st_mode, s.st_uid, s.st_gid]
            if not os.path.isdir(path) or os.path.islink(path):
                one += [s.st_nlink, s.st_size, s.st_mtime_ns]
            if os.path.isfile(path) and not os.path.islink(path):
                one.append(hashlib.sha256(open(path, "rb").read()).hexdigest())
            one.append(sorted((k, os.getxattr(path, k, follow_symlinks=False).hex())
                for k in os.listxattr(path, follow_symlinks=False)))
            found[path] = one
found["sparse"] = os.stat("/srv/shapes/sparse").st_blocks < 1000
try:
    open("/srv/shapes/sealed/new", "w").close()
    os.remove("/srv/shapes/sealed/new")
    found["sealed"] = False
except OSError:
    found["sealed"] = True
found["subvolumes"] = [p for p in ("outer", "outer/inner", "outer/inner/deep", "sealed")
    if os.stat("/srv/shapes/" + p).st_ino == 256]
print(json.dumps(found))
"""
