"""TLS servers on loopback, with certificates of their own."""

import ssl

import trustme


def server_context(authority: trustme.CA, *names: str, **of_certificate: object) -> ssl.SSLContext:
    """A server's context with a certificate of that authority; for loopback, unless named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **of_certificate)
    issued.configure_cert(context)
    return context
