"""Every code block of the card guides, and the case that runs it.

The guides show each block in several languages; these are the ones that can be run with what is installed here. (The same
blocks in Ruby, PHP, C# and Java send the same requests.) `uncovered` fails the run where a block's case is missing or failed.
"""

PYTHON, JAVASCRIPT, HTTP = "python", "javascript", "http"

ACCESS_METHODS = "Creating and Encoding Card Access Methods"
CREDENTIALS = "Creating and Encoding Card-based Credentials"
SCANNING = "Scan a Credential"
KEY_CARDS = "Using Key Cards"

# guide, step, language, case
BLOCKS = [
    (ACCESS_METHODS, "1. Create an Access Grant", JAVASCRIPT, "creates_an_access_grant_for_a_new_person"),
    (ACCESS_METHODS, "2. Retrieve Encoders", JAVASCRIPT, "retrieves_encoders"),
    (ACCESS_METHODS, "3. Encode the Card", JAVASCRIPT, "encodes_the_access_method"),
    (ACCESS_METHODS, "4. Confirm by Polling", JAVASCRIPT, "polls_the_action_attempt"),
    (ACCESS_METHODS, "View Access Method Properties", JAVASCRIPT, "views_the_access_method"),
    (ACCESS_METHODS, "Confirm by Using a Webhook", JAVASCRIPT, "hears_of_the_issued_access_method_by_webhook"),
    (ACCESS_METHODS, "Confirm by Using a Webhook: reissued", JAVASCRIPT, "hears_of_a_re_encoded_card_by_webhook"),
    (ACCESS_METHODS, "Errors: no_card_on_encoder", PYTHON, "ends_without_a_card"),
    (ACCESS_METHODS, "Errors: incompatible_card_format", JAVASCRIPT, "a_failed_encode_is_an_error_of_its_own_kind"),
    (CREDENTIALS, "1. Set Up an ACS User and Card Credential", PYTHON, "sets_up_a_user_and_a_card_credential"),
    (CREDENTIALS, "2. Retrieve Encoders", PYTHON, "retrieves_encoders"),
    (CREDENTIALS, "3. Encode the Card", PYTHON, "encodes_the_card"),
    (CREDENTIALS, "4. Confirm by Polling", PYTHON, "polls_the_action_attempt"),
    (CREDENTIALS, "View Credential Properties", PYTHON, "views_the_credential"),
    (CREDENTIALS, "Confirm by Using a Webhook", PYTHON, "hears_of_the_issued_credential_by_webhook"),
    (CREDENTIALS, "Confirm by Using a Webhook: reissued", PYTHON, "hears_of_a_re_encoded_card_by_webhook"),
    (CREDENTIALS, "Errors: no_card_on_encoder", PYTHON, "ends_without_a_card"),
    (CREDENTIALS, "Errors: incompatible_card_format", PYTHON, "refuses_a_technology_it_cannot_use"),
    (CREDENTIALS, "Errors: uncategorized_error", PYTHON, "scans_a_card_to_assign_it"),
    (SCANNING, "Sample", JAVASCRIPT, "scans_a_credential"),
    (SCANNING, "Sample: out of sync", JAVASCRIPT, "scans_a_credential_that_is_out_of_sync"),
    (SCANNING, "Sample", PYTHON, "scans_a_credential"),
    (SCANNING, "Sample", HTTP, "scans_a_credential_over_http"),
    *(
        (KEY_CARDS, step, language, f"{case}_over_http" if language == HTTP else case)
        for step, case in (
            ("1. Verify Entrance Support", "verifies_entrance_support"),
            ("2. Create an Access Grant with a Key Card", "creates_an_access_grant_with_a_key_card"),
            ("3. Deliver the Key Card", "looks_whether_to_encode_the_key_card"),
            ("Encoding Cards", "encodes_the_key_card"),
            ("Assigning Cards", "assigns_a_key_card"),
            ("4. See Which Doors the Key Card Covers", "sees_which_doors_the_key_card_covers"),
        )
        for language in (JAVASCRIPT, PYTHON, HTTP)
    ),
]


def uncovered(passed):
    """The blocks whose case is not among those that passed, which are (language, case); HTTP cases are Python's."""
    runner = {HTTP: PYTHON}
    return [
        f"{guide} | {step} | {language}: {case}"
        for guide, step, language, case in BLOCKS
        if (runner.get(language, language), case) not in passed
    ]
