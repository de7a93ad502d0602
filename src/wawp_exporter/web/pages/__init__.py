"""The pages for operators; made on the server, without a build."""
