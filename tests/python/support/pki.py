"""A certificate authority that makes any client certificate a test needs, with the openssl program."""

import subprocess
from pathlib import Path

CA = """
[ca]
default_ca = own
[own]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca-key.pem
default_md = sha256
default_crl_days = 30
policy = any
copy_extensions = copy
x509_extensions = leaf
unique_subject = no
[any]
commonName = optional
[leaf]
basicConstraints = CA:FALSE
"""


class Authority:
    """Certificates by file name in one folder, signed by `ca.pem` there."""

    def __init__(self, folder, ca_name="test CA"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "crlnumber").write_text("01\n")
        self.config = self.folder / "ca.cnf"
        self.config.write_text(CA.format(folder=self.folder))
        self.ca = self.folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                "-subj", f"/CN={ca_name}", "-keyout", self.folder / "ca-key.pem", "-out", self.ca)

    def certificate(self, name, subject=None, san=None, valid=("-days", "30"), key=("ec", "ec_paramgen_curve:prime256v1"),
                    digest="sha256"):
        """Makes NAME.pem and NAME-key.pem; returns both paths as libpq's sslcert and sslkey."""
        cert, key_file, request = (self.folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr"))
        extensions = ["-addext", f"subjectAltName={san}"] if san else []
        options = ["-pkeyopt", key[1]] if len(key) > 1 else []
        openssl("req", "-new", "-newkey", key[0], *options, "-nodes", "-subj", subject or f"/CN={name}", *extensions,
                "-keyout", key_file, "-out", request)
        openssl("ca", "-batch", "-notext", "-config", self.config, "-in", request, "-out", cert, "-md", digest, *valid)
        key_file.chmod(0o600)
        return {"sslcert": str(cert), "sslkey": str(key_file)}

    def revoke(self, *names):
        """Revokes certificates and writes crl.pem; returns its path."""
        for name in names:
            openssl("ca", "-batch", "-config", self.config, "-revoke", self.folder / f"{name}.pem")
        crl = self.folder / "crl.pem"
        openssl("ca", "-batch", "-config", self.config, "-gencrl", "-out", crl)
        return crl


def openssl(*args):
    """Runs openssl; fails with what it says."""
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
