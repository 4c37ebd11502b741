"""The failed-job report as a web page.

`serve` starts it, `application` puts it together. What reaches a page has passed the `gate` (headers, host) and the
`doorkeeper` (who asks, with which role); `pages` holds one file for each view, `templates` and `static` its looks.
"""
