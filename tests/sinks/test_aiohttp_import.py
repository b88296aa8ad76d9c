"""The import of aiohttp: what it leaves out, and that nobody is trusted for it. In processes of their own."""
import subprocess
import sys
import textwrap

COUNTING = """
    import ssl, threading
    from shipper.sinks import _aiohttp
    _aiohttp.load()
    from aiohttp import connector
    context = connector._SSL_CONTEXT_VERIFIED
    def certificates():
        return len(context.get_ca_certs())
    def shake_hands():
        return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
"""


def said(program: str, **environ: str) -> str:
    code = textwrap.dedent(COUNTING) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def a_file_of_one_certificate(tmp_path) -> str:
    subject, key, path = "/CN=localhost", str(tmp_path / "key.pem"), str(tmp_path / "ca.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", path, "-subj", subject],
                   check=True, capture_output=True)
    return path


def test_the_context_that_verifies_reads_the_systems_certificates_at_its_first_handshake(tmp_path):
    path = a_file_of_one_certificate(tmp_path)
    assert said("before = certificates(); shake_hands(); print(before, certificates())", SSL_CERT_FILE=path) == "0 1"


def test_it_verifies_before_and_after():
    program = "a = context.verify_mode, context.check_hostname; shake_hands(); print(a, type(context) is ssl.SSLContext)"
    assert said(program) == f"({'<VerifyMode.CERT_REQUIRED: 2>'}, True) True"


def test_contexts_made_after_the_import_have_their_certificates_at_once(tmp_path):
    path = a_file_of_one_certificate(tmp_path)
    assert said("print(len(ssl.create_default_context().get_ca_certs()))", SSL_CERT_FILE=path) == "1"


def test_contexts_that_other_threads_make_during_the_import_have_them_too(tmp_path):
    path = a_file_of_one_certificate(tmp_path)
    program = """
        found = []
        with _aiohttp._without_certificates() as late:
            made = threading.Thread(target=lambda: found.append(len(ssl.create_default_context().get_ca_certs())))
            made.start()
            made.join()
            own = ssl.create_default_context()
        print(found, late == [own], len(own.get_ca_certs()))
    """
    assert said(program, SSL_CERT_FILE=path) == "[1] True 0"
