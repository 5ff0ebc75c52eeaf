//! A real redis-server as a child process.
