"""Makes text of what comes from outside: pages, PDFs, and files in any encoding."""
