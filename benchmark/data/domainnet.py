"""DomainNet: 345 classes in six styles, split by the release's own lists; and the 126 classes that many papers use."""

from __future__ import annotations

from pathlib import Path

from dabench.core import DabenchError, MissingData
from dabench.data.official import Dataset, names_in
from dabench.data.pictures import Picture, mixed

DOMAINNET_DOMAINS = {  # pictures of the cleaned release in its lists to train and to test
    "clipart": (33_525, 14_604),
    "infograph": (36_023, 15_582),
    "painting": (50_416, 21_850),
    "quickdraw": (120_750, 51_750),
    "real": (120_906, 52_041),
    "sketch": (48_212, 20_916),
}

DOMAINNET_CLASSES = names_in(
    """
        aircraft_carrier airplane alarm_clock ambulance angel animal_migration ant anvil apple arm asparagus axe
        backpack banana bandage barn baseball baseball_bat basket basketball bat bathtub beach bear beard bed bee belt
        bench bicycle binoculars bird birthday_cake blackberry blueberry book boomerang bottlecap bowtie bracelet
        brain bread bridge broccoli broom bucket bulldozer bus bush butterfly cactus cake calculator calendar camel
        camera camouflage campfire candle cannon canoe car carrot castle cat ceiling_fan cell_phone cello chair
        chandelier church circle clarinet clock cloud coffee_cup compass computer cookie cooler couch cow crab crayon
        crocodile crown cruise_ship cup diamond dishwasher diving_board dog dolphin donut door dragon dresser drill
        drums duck dumbbell ear elbow elephant envelope eraser eye eyeglasses face fan feather fence finger
        fire_hydrant fireplace firetruck fish flamingo flashlight flip_flops floor_lamp flower flying_saucer foot fork
        frog frying_pan garden garden_hose giraffe goatee golf_club grapes grass guitar hamburger hammer hand harp hat
        headphones hedgehog helicopter helmet hexagon hockey_puck hockey_stick horse hospital hot_air_balloon hot_dog
        hot_tub hourglass house house_plant hurricane ice_cream jacket jail kangaroo key keyboard knee knife ladder
        lantern laptop leaf leg light_bulb lighter lighthouse lightning line lion lipstick lobster lollipop mailbox
        map marker matches megaphone mermaid microphone microwave monkey moon mosquito motorbike mountain mouse
        moustache mouth mug mushroom nail necklace nose ocean octagon octopus onion oven owl paint_can paintbrush
        palm_tree panda pants paper_clip parachute parrot passport peanut pear peas pencil penguin piano pickup_truck
        picture_frame pig pillow pineapple pizza pliers police_car pond pool popsicle postcard potato power_outlet
        purse rabbit raccoon radio rain rainbow rake remote_control rhinoceros rifle river roller_coaster rollerskates
        sailboat sandwich saw saxophone school_bus scissors scorpion screwdriver sea_turtle see_saw shark sheep shoe
        shorts shovel sink skateboard skull skyscraper sleeping_bag smiley_face snail snake snorkel snowflake snowman
        soccer_ball sock speedboat spider spoon spreadsheet square squiggle squirrel stairs star steak stereo
        stethoscope stitches stop_sign stove strawberry streetlight string_bean submarine suitcase sun swan sweater
        swing_set sword syringe t-shirt table teapot teddy-bear telephone television tennis_racquet tent
        The_Eiffel_Tower The_Great_Wall_of_China The_Mona_Lisa tiger toaster toe toilet tooth toothbrush toothpaste
        tornado tractor traffic_light train tree triangle trombone truck trumpet umbrella underwear van vase violin
        washing_machine watermelon waterslide whale wheel windmill wine_bottle wine_glass wristwatch yoga zebra zigzag
        """
)

DOMAINNET126_CLASSES = names_in(
    """
        aircraft_carrier alarm_clock ant anvil asparagus axe banana basket bathtub bear bee bird blackberry blueberry
        bottlecap broccoli bus butterfly cactus cake calculator camel camera candle cannon canoe carrot castle cat
        ceiling_fan cell_phone cello chair chandelier coffee_cup compass computer cow crab crocodile cruise_ship dog
        dolphin dragon drums duck dumbbell elephant eyeglasses feather fence fish flamingo flower foot fork frog
        giraffe goatee grapes guitar hammer helicopter helmet horse kangaroo lantern laptop leaf lion lipstick lobster
        microphone monkey mosquito mouse mug mushroom onion panda peanut pear peas pencil penguin pig pillow pineapple
        potato power_outlet purse rabbit raccoon rhinoceros rifle saxophone screwdriver sea_turtle see_saw sheep shoe
        skateboard snake speedboat spider squirrel strawberry streetlight string_bean submarine swan table teapot
        teddy-bear television The_Eiffel_Tower The_Great_Wall_of_China tiger toe train truck umbrella vase watermelon
        whale zebra
        """
)


def domainnet(root: Path, domain: str, split: str, class_names: tuple[str, ...]) -> list[Picture]:
    """The pictures of a domain's list "train" or "test" that are of these classes, in a mixed order.

    The class is the folder's name, not the list's number. Raises MissingData for a list or a picture that is not there.
    """
    folder = root / "domainnet"
    path = folder / f"{domain}_{split}.txt"
    if not path.is_file():
        raise MissingData(f"domainnet: {path} is missing; {_REMEDY}")
    labels = {name: label for label, name in enumerate(class_names)}
    pictures = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        place, _, number = line.rpartition(" ")
        parts = place.split("/")
        if not line:
            continue
        if len(parts) != 3 or parts[0] != domain or ".." in parts or not number.strip().isdigit():
            raise DabenchError(f"{path} holds the line '{line[:80]}', not {domain}/<class>/<picture> <number>")
        if parts[1] in labels:
            pictures.append(Picture(f"{parts[1]}/{parts[2]}", labels[parts[1]], folder / place))
    for picture in pictures:
        if not picture.path.is_file():
            raise MissingData(f"domainnet: {picture.path}, which {path.name} names, is missing; {_REMEDY}")
    if not pictures:
        raise DabenchError(f"{path} names no picture of these classes; fetch it again")
    return mixed(pictures)


_REMEDY = (
    "fetch the cleaned version's archive and its two lists from its page and unpack them into domainnet/, so that "
    "there are domainnet/<domain>/<class>/ and domainnet/<domain>_train.txt"
)


def _files(root: Path) -> list[Path]:
    """Every list and every picture that they name."""
    lists = [
        root / "domainnet" / f"{domain}_{split}.txt" for domain in DOMAINNET_DOMAINS for split in ("train", "test")
    ]
    pictures = [
        picture.path
        for domain in DOMAINNET_DOMAINS
        for split in ("train", "test")
        for picture in domainnet(root, domain, split, DOMAINNET_CLASSES)
    ]
    return lists + pictures


DOMAINNET = Dataset(
    name="domainnet",
    licence="non-commercial research and education (fair use)",
    citation="Peng et al., Moment matching for multi-source domain adaptation, ICCV 2019",
    homepage="https://ai.bu.edu/M3SDA/",
    files=_files,
)
