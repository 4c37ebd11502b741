"""The failed-job report as a web page.

`serve` runs the server, `application` wires the routes. Every request passes `security_middleware` (host name, headers)
and `authentication` (user and role). `pages` has one file per view; `templates` and `static` hold the HTML, CSS and JS.
"""
