"""The first links: the configuration, and the exporter that runs with it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from wawp_exporter.config.load import load
from wawp_exporter.config.schema import Web
from wawp_exporter.config.settings import Settings
from wawp_exporter.config.values import split_listen
from wawp_exporter.doctor.finding import Finding, broken, ok
from wawp_exporter.doctor.samples import Samples
from wawp_exporter.doctor.site import Site, Unusable
from wawp_exporter.errors import ConfigError

CONFIGURATION, EXPORTER = "configuration", "exporter"
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach whoever listens everywhere
PERMISSION = "Permission denied"


def read(path: Path | None) -> tuple[Settings | None, Finding]:
    """The configuration, if it can be used."""
    name = str(path) if path else "the defaults"
    try:
        settings = load(path)
    except ConfigError as error:
        again = [f"Then check it again:  wawp-exporter check-config {path}"] if path else []
        denied = ["Run this as the user of the service, who can read its files"] if PERMISSION in str(error) else []
        return None, broken(CONFIGURATION, f"{name} cannot be used:", *error.mistakes, *denied, *again)
    return settings, ok(CONFIGURATION, f"{path} is valid" if path else "no --config given, so the defaults are checked")


def address_of(web: Web) -> str:
    """The URL at which this machine reaches the exporter."""
    host, port = split_listen(web.listen)
    host = ANY.get(host, host)
    scheme = "https" if web.tls.cert_file else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def site_of(settings: Settings) -> Site:
    """The exporter, with its own token, and trusting its own certificate for whatever name. Raises Unusable."""
    web = settings.config.web
    tokens = settings.secrets.metrics_tokens
    token = tokens[0].decode("latin-1") if tokens else None
    login = "The running exporter has another web.metrics_token_file: restart it, or reload it:  kill -HUP PID"
    trusted = trusting(web.tls.cert_file) if web.tls.cert_file else None
    return Site("the exporter", address_of(web), login=login, token=token, trusted=trusted)


def trusting(certificate: str) -> ssl.SSLContext:
    """Trusts this certificate, by whomever it was signed; the name in it is the public one. Raises Unusable."""
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        says = f"web.tls.cert_file: {certificate} cannot be used ({error.strerror or type(error).__name__})"
        raise Unusable(says, f"Look at it:  openssl x509 -noout -text -in {certificate}") from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def look(settings: Settings) -> tuple[Samples | None, Finding]:
    """What the exporter says of itself, if it is up and ready."""
    try:
        with site_of(settings) as site:
            return answered(site)
    except Unusable as error:
        return None, broken(EXPORTER, str(error), *advice_of(error))


def answered(site: Site) -> tuple[Samples | None, Finding]:
    """The same. Raises Unusable."""
    problem = next(problems(site), None)
    if problem:
        return None, problem
    samples = Samples.of(site, "wawp_exporter_", "wawp_sessions{")
    version = next((labels["version"] for labels, _ in samples.find("wawp_exporter_build_info")), None)
    if version is None:
        return None, broken(EXPORTER, f"{site.url} is not a wawp-exporter", "Set web.listen to the exporter's address")
    if samples.total("wawp_exporter_config_last_reload_successful") == 0:
        says = f"{site.url} is up, but has refused its configuration at the last reload"
        return samples, broken(EXPORTER, says, "Its log says why; repair the configuration, and it is read again")
    return samples, ok(EXPORTER, f"{site.url} is up and ready, version {version}")


def problems(site: Site) -> Iterator[Finding]:
    """Why it is not healthy or not ready."""
    for path, advice in (
        ("/-/healthy", "Restart it:  systemctl restart wawp-exporter"),
        ("/-/ready", "Its log says why; is the disk full, or the database away?"),
    ):
        try:
            site.text(path)
        except Unusable as error:
            if error.status != 503:
                raise
            yield broken(EXPORTER, str(error), advice)


def advice_of(error: Unusable) -> tuple[str, ...]:
    """How to get an exporter that does not answer at all to run."""
    if error.status is not None:
        return error.advice
    return (*error.advice, "Start it:  wawp-exporter serve --config FILE   (systemctl status wawp-exporter, docker ps)")
