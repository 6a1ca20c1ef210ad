"""The admin's theme."""

UNFOLD = {
    "SITE_TITLE": "Order execution engine",
    "SITE_HEADER": "Order execution engine",
    "SITE_SUBHEADER": "Operators' console",
    "SITE_SYMBOL": "swap_horiz",
    "SHOW_HISTORY": True,
    "DASHBOARD_CALLBACK": "orders.admin.dashboard.shown",
    "STYLES": ["orders.admin.site.style"],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "orders.admin.site.favicon"}],
    "SIDEBAR": {"show_search": False, "navigation": "orders.admin.site.navigation"},
    # Teal instead of the theme's purple: green and red are taken by outcomes.
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(60% .118 184.704)",
            "600": "oklch(51.1% .096 186.391)",
            "700": "oklch(43.7% .078 188.216)",
            "800": "oklch(38.6% .063 188.416)",
            "900": "oklch(34% .05 190)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
}
