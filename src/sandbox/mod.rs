//! A Gitea stand-in on a loopback socket.
